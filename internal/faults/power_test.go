package faults_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// The real daemon takes alerts and acknowledgements in while strace records
// every write and every fsync of its store and every answer that it gave. From
// the recording come images of the disk as a loss of power may leave it: all
// that was synced, and of the rest nothing, everything, a prefix, a random part,
// or a random part with torn writes. Each image is opened, and must hold
// everything that was answered before its cut.
//
// Modelled are lost, reordered and torn writes of the store's file and its
// write-ahead log. Not modelled are lost directory entries and disks that lie
// about a sync.
func powerLoss(t *testing.T) {
	strace := tool(t, "strace")
	images := size(60, 400, 4000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	began := time.Now()
	rec, alerts := record(t, strace, size(30, 80, 200))
	require.Greater(t, len(rec.answers), 50, "the recording must hold answers")
	t.Logf("recorded after %s", time.Since(began).Round(time.Millisecond))
	syncs := 0
	for _, o := range rec.ops {
		if o.kind == synced {
			syncs++
		}
	}
	lossy := 0
	for i := range images {
		// Most loss shows right after an answer.
		cut := rec.ops[random.IntN(len(rec.ops))].begun + 1
		if i%2 == 0 {
			cut = rec.answers[random.IntN(len(rec.answers))].line + 1
		}
		how := ways[i%len(ways)]
		dir, err := disk()
		require.NoError(t, err)
		path := filepath.Join(dir, "watchbill.db")
		if rec.image(t, path, cut, how, random) > 0 {
			lossy++
		}
		e := evidence{now: time.Now()}
		for _, a := range rec.answers {
			switch {
			case a.line >= cut:
			case a.incident != 0:
				e.acks = append(e.acks, acknowledged{incident: a.incident})
			default:
				e.accepted = append(e.accepted, accepted{alert: alerts[a.instance]})
			}
		}
		if s, err := store.Open(t.Context(), path); err != nil {
			t.Errorf("invariant I8 broke: the image of line %d (%s) cannot be opened: %v", cut, how, err)
		} else {
			require.NoError(t, s.Close())
		}
		e.dump = read(t, path)
		must(t, e, bounds{noReceivers: true})
		require.NoError(t, os.RemoveAll(dir))
	}
	t.Logf("%d operations, %d syncs, %d answers recorded; %d images, %d of which lost or tore a write; none lost an answer", len(rec.ops), syncs, len(rec.answers), images, lossy)
}

// The ways in which the writes that were not synced may end up on the disk.
const (
	nothing    = "nothing of what was not synced"
	everything = "everything"
	prefix     = "a prefix"
	part       = "a random part"
	torn       = "a random part, torn"
)

var ways = []string{nothing, part, torn, prefix, everything}

// Kinds of operation.
const (
	wrote = iota
	truncated
	synced
)

// op is an operation on a file, with the lines of the recording where it began
// and ended.
type op struct {
	kind         int
	file         string // "" or "-wal"
	offset       int64
	data         []byte
	begun, ended int
}

// answered is a 2xx that left the daemon.
type answered struct {
	line     int
	instance string               // of the alert that was taken
	incident watchbill.IncidentID // that was acknowledged
}

type recording struct {
	base    []byte // the store when it began
	ops     []op
	answers []answered
}

// image writes the store as a loss of power at a line may leave it, and returns
// how many writes did not arrive whole.
func (rec recording) image(t *testing.T, path string, cut int, how string, random *rand.Rand) int {
	t.Helper()
	ops := rec.ops[:0:0]
	durable := map[string]int{} // up to which line what had ended is on the disk
	for _, o := range rec.ops {
		switch {
		case o.begun >= cut:
		case o.kind != synced:
			ops = append(ops, o)
		case o.ended < cut:
			durable[o.file] = max(durable[o.file], o.begun)
		}
	}
	loose := 0
	for _, o := range ops {
		if o.ended >= durable[o.file] {
			loose++
		}
	}
	kept := random.IntN(loose + 1) // of a prefix
	files := map[string][]byte{"": slices.Clone(rec.base)}
	lost := 0
	for _, o := range ops {
		if o.ended >= durable[o.file] {
			kept--
			drop := how == nothing || how == prefix && kept < 0 || (how == part || how == torn) && random.IntN(2) == 0
			if drop {
				lost++
				continue
			}
			if how == torn && o.kind == wrote && random.IntN(2) == 0 {
				o.data = o.data[:random.IntN(len(o.data)/512+1)*512]
				lost++
			}
		}
		files[o.file] = o.apply(files[o.file])
	}
	for suffix, b := range files {
		require.NoError(t, os.WriteFile(path+suffix, b, 0o600))
	}
	return lost
}

func (o op) apply(b []byte) []byte {
	end := int(o.offset) + len(o.data)
	if o.kind == truncated {
		end = int(o.offset)
		b = b[:min(end, len(b))]
	}
	if len(b) < end {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[o.offset:], o.data)
	return b
}

// record plays a workload against the daemon under strace.
func record(t *testing.T, strace string, each int) (recording, map[string]watchbill.Fingerprint) {
	t.Helper()
	r := newRig(t, t.TempDir(), slowPath)
	// The recording begins on the disk that the first token left.
	base, err := os.ReadFile(r.db())
	require.NoError(t, err)
	require.NoFileExists(t, r.db()+"-wal")
	out := filepath.Join(t.TempDir(), "strace")
	p := r.start(strace, "-f", "-qq", "-y", "-xx", "-s", "1000000", "-o", out,
		"-e", "trace=read,write,pwrite64,fsync,fdatasync,ftruncate")
	require.True(t, r.ready(p), "%s", p.logs.tail())
	var mu sync.Mutex
	alerts := map[string]watchbill.Fingerprint{}
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			client := &web.Client{URL: r.client.URL, Token: r.client.Token, HTTP: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
			for n := range each {
				instance := fmt.Sprintf("p-%d-%d", c, n)
				a := alert("service-"+strconv.Itoa(c*1000+n/2), instance)
				mu.Lock()
				alerts[instance] = a.Fingerprint()
				mu.Unlock()
				if err := client.PostAlerts(t.Context(), []watchbill.Alert{a}); err != nil {
					t.Errorf("post: %v", err)
					return
				}
				if n%6 == 5 {
					_, _ = client.Acknowledge(t.Context(), watchbill.IncidentID(c*each/6+n/6), "") // some exist
				}
			}
		})
	}
	clients.Wait()
	r.crash()
	rec := parse(t, out)
	rec.base = base
	return rec, alerts
}

var (
	inLabels  = regexp.MustCompile(`"instance":"(p-\d+-\d+)"`)
	inAckPath = regexp.MustCompile(`^POST /api/ops/v1/incidents/INC-(\d+)/ack `)
)

// parse reads strace's output. Calls that were interrupted by other threads are
// put together from their two halves.
func parse(t *testing.T, path string) recording {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	lines.Split(wholeLines)
	type half struct {
		text string
		line int
	}
	var rec recording
	begun := map[string]half{}
	asked := map[string]string{} // by connection: what was read since the last answer
	for n := 0; lines.Scan(); n++ {
		pid, text, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			continue
		}
		text = strings.TrimLeft(text, " ")
		if head, ok := strings.CutSuffix(text, " <unfinished ...>"); ok {
			begun[pid] = half{head, n}
			rec.answer(t, head, n, asked) // an answer counts from when it begins to leave
			continue
		}
		from := n
		if strings.HasPrefix(text, "<... ") {
			_, rest, _ := strings.Cut(text, " resumed>")
			from, text = begun[pid].line, begun[pid].text+rest
			delete(begun, pid)
		} else {
			rec.answer(t, text, n, asked)
		}
		rec.add(t, text, from, n, asked)
	}
	require.NoError(t, lines.Err())
	// What was on its way when the process was killed is not in the recording
	// whole; the cuts lie before it.
	slices.SortStableFunc(rec.ops, func(a, b op) int { return a.begun - b.begun })
	return rec
}

// wholeLines leaves out a last line without an end: strace was killed in it.
func wholeLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	advance, line, err = bufio.ScanLines(data, false)
	if advance == 0 && atEOF {
		advance = len(data)
	}
	return advance, line, err
}

// plain decodes strace's \x41\x42.
func plain(t *testing.T, s string) string {
	t.Helper()
	if !strings.HasPrefix(s, `\x`) {
		return s
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	require.NoError(t, err)
	return string(b)
}

// quoted returns the string among the arguments of a call, and what follows it.
func quoted(args string) (text, rest string, ok bool) {
	_, args, ok = strings.Cut(args, `"`)
	if !ok {
		return "", "", false
	}
	return strings.Cut(args, `"`)
}

// split takes a call apart: its name, the file or socket of its descriptor, and
// its other arguments with the result.
func split(text string) (call, file, args string, ok bool) {
	call, rest, ok := strings.Cut(text, "(")
	if !ok {
		return "", "", "", false
	}
	if _, rest, ok = strings.Cut(rest, "<"); !ok {
		return "", "", "", false
	}
	file, args, ok = strings.Cut(rest, ">")
	return call, file, args, ok
}

func (rec *recording) answer(t *testing.T, text string, line int, asked map[string]string) {
	t.Helper()
	call, file, args, ok := split(text)
	if !ok || call != "write" {
		return
	}
	sent, _, ok := quoted(args)
	if !ok || !strings.HasPrefix(sent, `\x48\x54\x54\x50`) { // HTTP
		return
	}
	request := asked[file]
	delete(asked, file)
	if !strings.HasPrefix(plain(t, sent), "HTTP/1.1 200 ") {
		return
	}
	if a := inLabels.FindStringSubmatch(request); a != nil {
		rec.answers = append(rec.answers, answered{line: line, instance: a[1]})
	} else if a := inAckPath.FindStringSubmatch(request); a != nil {
		id, err := strconv.ParseInt(a[1], 10, 64)
		require.NoError(t, err)
		rec.answers = append(rec.answers, answered{line: line, incident: watchbill.IncidentID(id)})
	}
}

func (rec *recording) add(t *testing.T, text string, from, to int, asked map[string]string) {
	t.Helper()
	call, coded, args, ok := split(text)
	if !ok {
		return
	}
	file := plain(t, coded)
	data, rest, ok := quoted(args)
	if !ok {
		rest = args
	}
	if call == "read" && strings.HasPrefix(file, "socket:") {
		asked[coded] += plain(t, data)
		return
	}
	_, suffix, ok := strings.Cut(filepath.Base(file), "watchbill.db")
	if !ok || suffix != "" && suffix != "-wal" || strings.Contains(rest, "= -1") {
		return
	}
	o := op{file: suffix, begun: from, ended: to}
	numbers := strings.FieldsFunc(rest, func(r rune) bool { return r == ',' || r == ' ' || r == ')' })
	switch call {
	case "pwrite64": // data, length, offset
		o.data = []byte(plain(t, data))
		offset, err := strconv.ParseInt(numbers[1], 10, 64)
		require.NoError(t, err)
		o.offset = offset
	case "ftruncate":
		o.kind = truncated
		length, err := strconv.ParseInt(numbers[0], 10, 64)
		require.NoError(t, err)
		o.offset = length
	case "fsync", "fdatasync":
		o.kind = synced
	default:
		return
	}
	rec.ops = append(rec.ops, o)
}
