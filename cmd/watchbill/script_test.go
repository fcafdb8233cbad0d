package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // the command sql of the scripts
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"watchbill": main})
}

// Each file of testdata/script is a session at a terminal, with the program as
// it is built.
//
// Beside testscript's own commands there are:
//
//	status CODE PROGRAM ARGS…   run it; it must exit with this status
//	await FILE REGEXP [VAR]     wait until the file has it; VAR is what its group matched
//	post TOKENFILE PATH FILE    POST a file to $WATCHBILL_URL; prints the status and the answer
//	browse WHO METHOD PATH K=V… ask $WATCHBILL_URL as the browser of WHO, which keeps its cookies; prints the
//	                            status with where it leads to, and the page
//	cert NAME                   make NAME.pem and NAME.key, of 127.0.0.1
//	hup                         send SIGHUP to the program in the background
//	mode FILE MODE              compare a file's permissions
//	isjson FILE                 the file, or stdout, is one JSON value
//	sql FILE STATEMENT          run a statement in an SQLite file
func TestScripts(t *testing.T) {
	t.Parallel()
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("REPO", repo)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "await": await, "post": post, "browse": browse, "cert": cert, "hup": hup, "mode": mode, "isjson": isJSON, "sql": runSQL,
		},
	})
}

// usage stops a script that calls a command in the wrong way.
func usage(ts *testscript.TestScript, ok bool, how string) {
	if !ok {
		ts.Fatalf("usage: %s", how)
	}
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "status CODE PROGRAM ARGS…")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Check(err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("it exited with %d, not %d", got, want)
	}
}

// awaitFor is far longer than anything that is awaited takes.
const awaitFor = 30 * time.Second

func await(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 2 || len(args) == 3), "await FILE REGEXP [VAR]")
	wanted, err := regexp.Compile(args[1])
	ts.Check(err)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(awaitFor); ; <-tick.C {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if found := wanted.FindSubmatch(text); found != nil {
			if len(args) == 3 {
				ts.Setenv(args[2], string(found[1]))
			}
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has no match of %q after %s: %s (%v)", args[0], args[1], awaitFor, text, err)
		}
	}
}

func post(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 3, "post TOKENFILE PATH FILE")
	req, err := http.NewRequest(http.MethodPost, ts.Getenv("WATCHBILL_URL")+args[1], strings.NewReader(ts.ReadFile(args[2])))
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile(args[0])))
	resp, err := (&http.Client{Timeout: awaitFor}).Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s", resp.Status, body)
	if failed := resp.StatusCode >= 300; failed != neg {
		ts.Fatalf("it answered %s %s", resp.Status, body)
	}
}

// browse is a browser: it says where its requests come from, keeps cookies, and goes
// nowhere by itself.
func browse(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 3, "browse WHO METHOD PATH K=V…")
	form := url.Values{}
	for _, field := range args[3:] {
		k, v, _ := strings.Cut(field, "=")
		form.Set(k, v)
	}
	req, err := http.NewRequest(args[1], ts.Getenv("WATCHBILL_URL")+args[2], strings.NewReader(form.Encode()))
	ts.Check(err)
	if args[1] == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	jar := "cookie-of-" + args[0]
	if kept := ts.Getenv(jar); kept != "" {
		req.Header.Set("Cookie", kept)
	}
	c := &http.Client{Timeout: awaitFor, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	for _, cookie := range resp.Cookies() {
		ts.Setenv(jar, cookie.Name+"="+cookie.Value)
	}
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s\n%s", resp.StatusCode, resp.Header.Get("Location"), body)
}

func cert(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "cert NAME")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

func hup(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "hup")
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGHUP))
	}
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "mode FILE MODE")
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("the mode of %s is %s, not %s", args[0], got, args[1])
	}
}

func isJSON(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "isjson FILE")
	d := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile(args[0]))))
	var v any
	ts.Check(d.Decode(&v))
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		ts.Fatalf("there is more than one value in %s", args[0])
	}
}

func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "sql FILE STATEMENT")
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	result, err := db.Exec(args[1])
	ts.Check(err)
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		ts.Fatalf("%s changed nothing (%v)", args[1], err)
	}
}
