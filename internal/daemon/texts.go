package daemon

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"watchbill"
	"watchbill/internal/notify"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// maxReplies is how many text messages are remembered, so that one which is sent
// twice acts once.
const maxReplies = 1000

// replies remembers the messages that were answered, by the provider's ids.
type replies struct {
	mu    sync.Mutex
	seen  map[string]string // what was answered
	order []string
}

// before returns what was answered to a message.
func (r *replies) before(id string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer, ok := r.seen[id]
	return answer, ok && id != ""
}

func (r *replies) note(id, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[string]string{}
	}
	if len(r.order) >= maxReplies {
		delete(r.seen, r.order[0])
		r.order = r.order[1:]
	}
	r.seen[id], r.order = answer, append(r.order, id)
}

// replyForm is a text message that acknowledges: the code, after ACK or alone.
var replyForm = regexp.MustCompile(`^(?i:ack(?:nowledge)?[\s:]*)?(\d[\d\s.-]{4,10}\d)[\s.!]*$`)

// codeIn returns the code in a text message.
func codeIn(body string) (string, bool) {
	m := replyForm.FindStringSubmatch(strings.TrimSpace(body))
	if m == nil {
		return "", false
	}
	code := typed(m[1])
	return code, len(code) == 6
}

// verifyText checks that a callback comes from the provider.
func (f *flow) verifyText(c web.TextCallback) error {
	r := f.rooms.Load()
	err := r.notifier.VerifySMS(c.Receiver, r.externalURL+c.Path, c.Form, c.Signature)
	if errors.Is(err, notify.ErrSignature) {
		f.logger.Warn("a text message's callback was refused: it is not signed by the provider", "receiver", c.Receiver)
		return watchbill.Errorf(watchbill.CodeDenied, "external_url must be the address that the provider is given", "the signature does not match")
	}
	return err
}

// TextReply takes the answer to a text message: a person's code acknowledges the
// incident of their page. It returns what they are told.
func (f *flow) TextReply(ctx context.Context, c web.TextCallback) (string, error) {
	if err := f.verifyText(c); err != nil {
		return "", err
	}
	id := c.Form.Get("MessageSid")
	if answer, ok := f.replies.before(id); ok {
		return answer, nil
	}
	person, ok := f.rooms.Load().byPhone(c.Form.Get("From"))
	if !ok {
		f.logger.WarnContext(ctx, "a text message came from a number that is nobody's", "receiver", c.Receiver)
		return "", nil
	}
	answer, err := f.answer(ctx, c, person)
	if e, ok := errors.AsType[*watchbill.Error](err); ok && e.Code != watchbill.CodeInternal && e.Code != watchbill.CodeUnavailable {
		answer, err = e.Message+": "+e.Hint, nil
	}
	if err == nil {
		f.replies.note(id, answer)
	}
	return answer, err
}

// byPhone returns whose number it is.
func (r *rooms) byPhone(number string) (watchbill.PersonID, bool) {
	for id, p := range r.people {
		number = strings.TrimSpace(number)
		if number != "" && (p.Phone == number || slices.ContainsFunc(p.Contact, func(c watchbill.Contact) bool { return c.Address == number })) {
			return id, true
		}
	}
	return "", false
}

func (f *flow) answer(ctx context.Context, c web.TextCallback, person watchbill.PersonID) (string, error) {
	now := time.Now()
	g := guesser{"text of " + string(person), string(person)}
	if wait := f.guesses.locked(g, now); wait > 0 {
		return "", tooManyCodes(wait)
	}
	code, ok := codeIn(c.Form.Get("Body"))
	if !ok {
		return "Answer with the six digits of your page to acknowledge it.", nil
	}
	if err := f.rooms.Load().mayAnswer(person); err != nil {
		return "", err
	}
	id, page, err := f.meant(ctx, c.Receiver, person, code)
	if err != nil {
		return "", err
	}
	if id == 0 {
		f.guesses.wrong(g, now)
		return "No page of yours that still needs somebody has this code.", nil
	}
	inc, err := f.acknowledge(ctx, id, web.Actor{Person: person, Via: "sms"}, "", page)
	if err != nil {
		return "", err
	}
	return taken(inc) + ".", nil
}

// meant returns the incident whose code a person sent, and their page about it.
func (f *flow) meant(ctx context.Context, receiver string, person watchbill.PersonID, code string) (watchbill.IncidentID, int64, error) {
	var id watchbill.IncidentID
	var page store.PageRow
	err := f.store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.LivePagedTo(person)
		if err != nil {
			return err
		}
		for _, x := range all {
			if hmac.Equal([]byte(f.codes.code(x, person)), []byte(code)) {
				id = x
				page, _, err = tx.LastPageTo(x, person, receiver)
				return err
			}
		}
		return nil
	})
	return id, page.ID, err
}

// TextStatus takes the provider's word on what became of a text message. One that
// never got there makes the person's next method due at once.
func (f *flow) TextStatus(ctx context.Context, c web.TextCallback) error {
	if err := f.verifyText(c); err != nil {
		return err
	}
	var row store.PageRow
	found := false
	err := f.store.View(ctx, func(tx *store.Tx) (err error) {
		row, found, err = tx.PageByKey(c.Page)
		return err
	})
	if err != nil || !found || row.Method != c.Receiver {
		return err
	}
	what := fmt.Sprintf("%s by %s (%s)", row.Person, row.Method, row.Key())
	switch c.Form.Get("MessageStatus") {
	case "delivered", "read":
		return f.receipt(ctx, row, watchbill.Receipt{Kind: watchbill.ReceiptDelivered}, watchbill.EventPageDelivered, "the provider delivered the page to "+what)
	case "undelivered", "failed":
		return f.undelivered(ctx, row, c.Form, what)
	}
	return nil
}

func (f *flow) undelivered(ctx context.Context, row store.PageRow, form url.Values, what string) error {
	why := "the provider could not deliver it"
	if code := form.Get("ErrorCode"); len(code) > 0 && len(code) < 12 {
		why += ", error " + strings.Map(digit, code)
	}
	return f.update(ctx, func(w *work) error {
		first, err := w.tx.PutReceipt(watchbill.Receipt{Page: row.ID, Kind: watchbill.ReceiptFailed, At: w.now, Detail: why})
		if err != nil || !first || row.Incident <= 0 {
			return err
		}
		inc, err := w.incident(row.Incident)
		if err != nil {
			return err
		}
		then, err := w.fallBack(inc, row.Page)
		if err != nil {
			return err
		}
		return w.save(&inc, w.event(watchbill.EventPageFailed, "not delivered: %s: %s; %s", what, why, then))
	})
}

func digit(r rune) rune {
	if r < '0' || r > '9' {
		return -1
	}
	return r
}
