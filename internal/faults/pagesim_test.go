package faults_test

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// mode is how the receiver behaves.
type mode string

const (
	ok          mode = "ok"
	failsBefore mode = "500 before accepting"
	failsAfter  mode = "500 after accepting"
	limits      mode = "429 with Retry-After: 3600"
	hangs       mode = "takes the request and never answers"
	drips       mode = "accepts, then sends its answer a byte a second"
	resets      mode = "resets the connection"
	refuses     mode = "404"
)

// patience is how long a hanging or dripping receiver keeps a connection.
const patience = time.Minute

// pagesim is a webhook receiver that does to the daemon what receivers do, and
// remembers every request by the key of its page.
type pagesim struct {
	mu    sync.Mutex
	log   []receipt
	usual mode
	modes map[string]mode // by path
	delay time.Duration   // of every answer
}

// behave sets the mode of some paths, or of all others if none is given.
func (p *pagesim) behave(m mode, paths ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(paths) == 0 {
		p.usual = m
	}
	if p.modes == nil {
		p.modes = map[string]mode{}
	}
	for _, path := range paths {
		p.modes[path] = m
	}
}

func (p *pagesim) receipts() []receipt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

func (p *pagesim) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.log)
}

// ServeHTTP takes a webhook of Alertmanager's version 4.
func (p *pagesim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	var body struct {
		Alerts []struct {
			Labels map[string]string `json:"labels"`
		} `json:"alerts"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Alerts) != 1 {
		http.Error(w, "not a page", http.StatusBadRequest)
		return
	}
	labels := body.Alerts[0].Labels
	attempt, err := strconv.Atoi(labels["attempt"])
	if err != nil {
		http.Error(w, "a page without the number of its attempt", http.StatusBadRequest)
		return
	}
	pages, err := strconv.Atoi(cmp.Or(labels["pages"], "1"))
	if err != nil {
		http.Error(w, "a bundle that does not count", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	m, special := p.modes[r.URL.Path]
	if !special {
		m = p.usual
	}
	delay := p.delay
	p.log = append(p.log, receipt{
		key: labels["page_key"], attempt: attempt, path: r.URL.Path, at: at.UTC(), pages: pages,
		accepted: m == "" || m == ok || m == failsAfter || m == drips,
	})
	p.mu.Unlock()
	if delay > 0 {
		pause(r, delay)
	}
	p.answer(w, r, m)
}

func (p *pagesim) answer(w http.ResponseWriter, r *http.Request, m mode) {
	switch m {
	case failsBefore, failsAfter:
		w.WriteHeader(http.StatusInternalServerError)
	case limits:
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	case refuses:
		w.WriteHeader(http.StatusNotFound)
	case hangs:
		pause(r, patience)
	case drips:
		w.WriteHeader(http.StatusOK)
		for range int(patience / time.Second) {
			if _, err := w.Write([]byte(".")); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush() // a connection that is gone fails the next write
			if !pause(r, time.Second) {
				return
			}
		}
	case resets:
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // close with a reset
		}
		conn.Close()
	case ok:
	}
}

// pause waits, and reports false if the caller hung up.
func pause(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
