// Package notify reaches people: it renders pages, sends them through
// Alertmanager's integrations or to the terminal, and works off the outbox.
//
// # From a row to a person
//
// A [watchbill.Page] is a row of the outbox. The [Worker] claims it under a
// lease, asks whether it is still needed, and gives it to the [Notifier], which
// turns its content into one synthetic alert and hands that to every
// integration of the receiver that the page names. What the integration
// answers becomes a [watchbill.Outcome].
//
// # Receivers
//
// Every receiver of the configuration works, with all of Alertmanager's
// integrations. Two are built in unless a receiver of the same name is
// configured: "terminal" prints the page where the daemon runs, and "email"
// mails the person at their own address when the global section names a mail
// server.
//
// An [SMS] is a receiver of our own: it sends one segment to each person's phone
// through Twilio's API, and [Notifier.VerifySMS] checks what the provider sends back.
//
// # Messages that are edited
//
// Slack's integration can edit a message if there is a token. [Notifier.Deliver]
// returns how Slack names the messages that it took; a page whose Edit names one
// replaces it.
//
// # What a receiver sees
//
// The alert's labels are those of the real alert, with these over them:
// severity, service, environment, incident, person, role, page_key, attempt.
// Its annotations are the fields of [watchbill.PageContent] under their JSON
// names (an empty field is absent; actions is one line each), and three
// renderings: text is the whole page, subject one line, short one text message.
// The group key is [watchbill.Page.Key], so a receiver that must not act twice
// compares groupKey or page_key; attempt tells a repetition from the first.
//
// Templates of the user's own work on this data: {{ .CommonAnnotations.title }},
// {{ .CommonLabels.team }}. A receiver that sets no texts shows the page in the
// order of its eleven fields. {{ template "watchbill.text" . }}, .subject,
// .short, .mrkdwn and .markdown give the renderings; the functions mrkdwn,
// markdown and payload escape single values for Slack, for chats that read
// Markdown, and for a webhook's own payload, where Alertmanager would read
// "a: b" as an object.
//
// # When a template fails
//
// Every template of a receiver is executed against the page before anything is
// sent, for at most a second and 64 KB. One that fails is replaced: by the plain
// text of the page where a text belongs, by its subject where a line belongs, by
// nothing where a colour or a link belongs. The page still goes out; the log and
// watchbill_template_fallback_total tell. When the template of an address fails,
// or an address is empty, nothing can stand in and the page is refused, so that
// the person's next method is used at once; one that was only slow is retried. [Notifier.CheckTemplates] finds such
// templates when the configuration is loaded.
//
// # Results
//
// An attempt has at most the send timeout, 10 seconds unless configured. A 5xx,
// a 429, a temporary SMTP answer, a timeout and a network failure are retried;
// any other 4xx, a permanent SMTP answer and a receiver that does not exist are
// refused. Secrets and the paths of URLs are taken out of every reason.
//
// A receiver with several integrations has delivered when all of them accepted.
// If some accepted and others failed for the moment, the others are tried once
// more within the same attempt; the ones that accepted are remembered, so later
// attempts by the same process go to the failed ones only. After a restart or a
// reload that memory is gone and a duplicate with the same key is possible.
// While one integration fails the whole is not delivered: a chat message that
// arrived does not wake anybody when the phone call was refused.
//
// Mail and Telegram cannot be cancelled by Alertmanager's integrations. A send
// that hangs is left behind after the timeout; while four of one integration
// hang, further ones wait for their next attempt.
//
// # The worker
//
// Each receiver has its own queue and goroutine, so one that hangs delays nobody
// else. Failed pages are retried after 2, 5, 15 and 30 seconds, 1 and 2 minutes,
// then every 5 minutes for as long as the page is needed; refused ones every
// 5 minutes, while the daemon uses the next method. A claim is leased for 30
// seconds: if the process dies between claim and result, the row is claimed
// again after that with a higher attempt number. Pages of receivers that the
// configuration no longer has are claimed by a queue of their own and refused.
package notify
