package notify

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/nflog"
	amnotify "github.com/prometheus/alertmanager/notify"
	"gopkg.in/telebot.v3"

	"watchbill"
)

// secondTry is how long after a partial success the integrations that failed
// are tried again within the same attempt.
const secondTry = time.Second

// answer is what one integration said.
type answer struct {
	name   string
	result watchbill.Result
	detail string
	sent   *watchbill.SentMessage // what can be edited later
}

// Send delivers a page through the receiver that it names, within the send
// timeout. It says how that ended, and why in words that hold no secret.
func (n *Notifier) Send(ctx context.Context, d watchbill.Delivery) (watchbill.Result, string) {
	o := n.Deliver(ctx, d)
	return o.Result, o.Detail
}

// Deliver is Send that also says which messages of chats can be edited later.
func (n *Notifier) Deliver(ctx context.Context, d watchbill.Delivery) watchbill.Outcome {
	o := watchbill.Outcome{Delivery: d}
	if d.Page.Method == LoopReceiver {
		o.Result, o.Detail = watchbill.ResultDelivered, "taken by the loop"
		return o
	}
	r := n.receivers[d.Page.Method]
	if r == nil {
		o.Result, o.Detail = watchbill.ResultRefused, fmt.Sprintf("receiver %q is not configured", d.Page.Method)
		return o
	}
	ctx, cancel := context.WithTimeoutCause(ctx, n.timeout, fmt.Errorf("no answer within %s", n.timeout))
	defer cancel()

	if n.deliver != nil {
		o.Result, o.Detail = n.deliver(ctx, d)
		return o
	}
	m := newMessage(d)
	ctx = n.context(ctx, r, m)
	integrations, result, detail := n.usable(ctx, r, m)
	if result != "" {
		o.Result, o.Detail = result, detail
		return o
	}
	o.Result, o.Detail, o.Sent = n.sendAll(ctx, r, integrations, m)
	for i := range o.Sent {
		o.Sent[i].Page = d.ID
	}
	return o
}

// usable returns the integrations through which a message goes, with stand-ins for
// templates that fail on it; or how the attempt ends without any.
func (n *Notifier) usable(ctx context.Context, r *receiver, m message) ([]integration, watchbill.Result, string) {
	failed := r.failures(ctx, n.tmpl, n.data(ctx, m))
	for _, f := range failed {
		if partOf(f.slot) == address {
			result := watchbill.ResultRefused
			if errors.Is(f.err, errSlow) {
				result = watchbill.ResultRetry
			}
			return nil, result, r.redact.clean(fmt.Sprintf("no address: template %s: %v", f.slot.Path, f.err))
		}
	}
	integrations, err := r.without(failed)
	if err != nil {
		return nil, watchbill.ResultRefused, r.redact.clean(err.Error())
	}
	if len(failed) > 0 {
		n.fallbacks.WithLabelValues(r.name).Inc()
		if n.fallback != nil {
			n.fallback(r.name)
		}
		n.log.WarnContext(ctx, "template failed, page goes out as plain text", "receiver", r.name, "page", m.page.Key(),
			"template", failed[0].slot.Path, "err", r.redact.clean(failed[0].err.Error()), "templates", len(failed))
	}
	if e := m.page.Edit; e != nil {
		integrations = slices.DeleteFunc(slices.Clone(integrations), func(it integration) bool { return it.name != e.Integration })
		if len(integrations) == 0 {
			return nil, watchbill.ResultDropped, fmt.Sprintf("the receiver has no %s any more", e.Integration)
		}
	}
	return integrations, "", ""
}

// sendAll sends to every integration that has not accepted the page yet, at the
// same time. The attempt is as good as its worst part.
func (n *Notifier) sendAll(ctx context.Context, r *receiver, integrations []integration, m message) (watchbill.Result, string, []watchbill.SentMessage) {
	key := m.page.Key()
	took := r.took(key)
	if took == nil {
		took = map[string]bool{}
	}
	answers := make([]answer, len(integrations))
	round := func() (retry, progress bool) {
		var wg sync.WaitGroup
		for i, it := range integrations {
			switch {
			case took[it.name]:
				answers[i] = answer{name: it.name, result: watchbill.ResultDelivered, detail: "accepted by " + it.name, sent: answers[i].sent}
			case answers[i].result != watchbill.ResultRefused:
				wg.Go(func() { answers[i] = r.sendOne(ctx, i, it, m) })
			}
		}
		wg.Wait()
		for _, a := range answers {
			switch a.result {
			case watchbill.ResultDelivered:
				took[a.name] = true
				progress = true
			case watchbill.ResultRetry:
				retry = true
			case watchbill.ResultRefused, watchbill.ResultDropped:
			}
		}
		return retry, progress
	}
	if retry, progress := round(); retry && progress && wait(ctx, secondTry) {
		round()
	}
	if len(took) == len(integrations) {
		took = nil
	}
	r.remember(key, took)
	result, detail := worst(answers)
	var sent []watchbill.SentMessage
	for _, a := range answers {
		if a.sent != nil {
			sent = append(sent, *a.sent)
		}
	}
	return result, detail, sent
}

// worst joins the answers: refused before retry before delivered, with the
// details of those that did not deliver, or of all. Refused comes first because
// the person's next method is then used at once.
func worst(answers []answer) (watchbill.Result, string) {
	if len(answers) == 0 {
		return watchbill.ResultRefused, "the receiver has no integration"
	}
	result := watchbill.ResultDelivered
	for _, a := range answers {
		if a.result == watchbill.ResultRefused || (a.result == watchbill.ResultRetry && result == watchbill.ResultDelivered) {
			result = a.result
		}
	}
	detail := ""
	for _, a := range answers {
		if result == watchbill.ResultDelivered || a.result != watchbill.ResultDelivered {
			detail = joinNonEmpty("; ", detail, a.detail)
		}
	}
	return result, detail
}

// sendOne hands the page to one integration and waits for its answer for as long
// as the attempt lasts. Some integrations cannot be cancelled; one that hangs is
// left behind.
func (r *receiver) sendOne(ctx context.Context, i int, it integration, m message) answer {
	if n := r.hanging[i].Load(); n >= maxHanging {
		return answer{name: it.name, result: watchbill.ResultRetry, detail: fmt.Sprintf("%s: %d earlier sends still hang", it.name, n)}
	}
	done := make(chan answer, 1)
	ctx, editable := withMemory(ctx, m.page.Edit)
	go func() {
		retry, err := false, error(nil)
		defer func() {
			if p := recover(); p != nil {
				retry, err = true, fmt.Errorf("the integration panicked: %v", p)
			}
			got := r.judge(ctx, it.name, retry, err)
			if got.result == watchbill.ResultDelivered && m.page.Edit == nil {
				got.sent = editable(it.name)
			}
			done <- got
		}()
		retry, err = it.send(ctx, m.alert)
	}()
	select {
	case got := <-done:
		return got
	case <-ctx.Done():
	}
	// What respects the context answers now, and says more than we could. It has
	// a moment; the timeout of the attempt includes no reserve for it.
	grace := time.NewTimer(50 * time.Millisecond)
	defer grace.Stop()
	select {
	case got := <-done:
		return got
	case <-grace.C:
	}
	r.hanging[i].Add(1)
	go func() {
		<-done
		r.hanging[i].Add(-1)
	}()
	return answer{name: it.name, result: watchbill.ResultRetry, detail: fmt.Sprintf("%s: %v", it.name, context.Cause(ctx))}
}

// The names under which Alertmanager's Slack integration remembers its message.
const (
	memoryStamp   = "threadTs"
	memoryChannel = "channelId"
)

// withMemory gives an integration a memory of its own, in which Slack's looks for
// the message that it edits and leaves what it has sent.
func withMemory(ctx context.Context, edit *watchbill.SentMessage) (context.Context, func(name string) *watchbill.SentMessage) {
	memory := nflog.NewStore(nil)
	if edit != nil {
		memory.SetStr(memoryStamp, edit.Stamp)
		memory.SetStr(memoryChannel, edit.Channel)
	}
	return amnotify.WithNflogStore(ctx, memory), func(name string) *watchbill.SentMessage {
		stamp, _ := memory.GetStr(memoryStamp)
		channel, _ := memory.GetStr(memoryChannel)
		if stamp == "" || channel == "" {
			return nil
		}
		return &watchbill.SentMessage{Integration: name, Channel: channel, Stamp: stamp}
	}
}

// judge turns an integration's answer into a result.
func (r *receiver) judge(ctx context.Context, name string, retry bool, err error) answer {
	if err == nil {
		return answer{name: name, result: watchbill.ResultDelivered, detail: "accepted by " + name}
	}
	result := watchbill.ResultRefused
	if ctx.Err() != nil || mayPass(retry, err) {
		result = watchbill.ResultRetry
	}
	return answer{name: name, result: result, detail: r.redact.clean(name + ": " + err.Error())}
}

// mayPass says whether a failure may be gone at the next attempt. Alertmanager
// calls every error of mail and Telegram recoverable, and a 429 final; the codes
// underneath know better.
func mayPass(retry bool, err error) bool {
	if e, ok := errors.AsType[*amnotify.ErrorWithReason](err); ok && e.Reason == amnotify.RateLimitedReason {
		return true
	}
	if e, ok := errors.AsType[*textproto.Error](err); ok {
		return e.Code < 500
	}
	if e, ok := errors.AsType[*telebot.Error](err); ok {
		return e.Code < 400 || e.Code >= 500 || e.Code == 429
	}
	return retry
}

// wait pauses, and reports false if the context ended or would end before.
func wait(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
