package notify

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// A page with its link and code through a server of each kind: mail, webhook, Slack
// and text messages carry the fields that the page's specification asks of them, in
// their order.
func TestEveryChannelCarriesThePage(t *testing.T) {
	t.Parallel()
	equipped := func(method string) watchbill.Delivery {
		d := fullPage(method)
		d.Page.Content.Code, d.Page.Content.ActURL = "482913", "https://watchbill.example.com/act/7/tok"
		d.Page.Content.Actions[0].How = "open https://watchbill.example.com/act/7/tok and type the code 482913, or: watchbill incident ack INC-142"
		return d
	}
	whole := elevenFields()
	whole = append(whole[:len(whole)-1:len(whole)-1], "https://watchbill.example.com/act/7/tok", "482913", "Escalate now", "INC-142")
	send := func(n *Notifier, method string) {
		t.Helper()
		result, detail := n.Send(t.Context(), equipped(method))
		require.Equal(t, watchbill.ResultDelivered, result, detail)
	}

	box := newMailbox(t, "")
	send(newNotifier(t, Config{Global: box.global(t), ExternalURL: "https://watchbill.example.com"}, Options{}), EmailReceiver)
	header, parts, _ := readMail(t, box.got()[0])
	requireOrder(t, header.Get("Subject"), []string{"SEV1 checkout/prod", "7 % of payments fail", "INC-142"})
	requireOrder(t, parts[0], whole)
	requireOrder(t, parts[1], whole)

	h := newHook(t, always(200, ""))
	c := load(t, "receivers:\n- name: hook\n  webhook_configs: [{url: '"+h.URL+"/page'}]")
	send(newNotifier(t, Config{Receivers: c.Receivers, ExternalURL: "https://watchbill.example.com"}, Options{}), "hook")
	requireOrder(t, h.got()[0], []string{`"act_url":"https://watchbill.example.com/act/7/tok"`, `"code":"482913"`})
	_, text, _ := strings.Cut(h.got()[0], `"text":"`)
	requireOrder(t, text, whole)

	s, chat := newSlack(t)
	send(chat, "chat")
	_, attachment, _ := strings.Cut(s.sent[0], `"title":"`)
	requireOrder(t, attachment, whole)

	p := newProvider(t)
	send(p.notifier(t, "https://watchbill.example.com"), "sms")
	body := p.forms[0].Get("Body")
	requireOrder(t, body, []string{"SEV1 checkout/prod", "7 % of payments fail", "Check the last deployment and roll it back.", "INC-142", "482913"})
	require.LessOrEqual(t, septets(body), smsSegment)
}
