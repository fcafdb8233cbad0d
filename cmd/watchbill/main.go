//go:generate go test -count=1 -run ^TestDocs$ -update .

// Command watchbill is one daemon between a platform's signals and its people,
// and the tool with which people act on what it tells them.
//
//	watchbill demo            see the whole of it in a minute, without configuration
//	watchbill init DIR        write a configuration to start from
//	watchbill check FILE      find every mistake in a configuration
//	watchbill serve           run the daemon
//	watchbill explain …       who would be paged, when and why
//	watchbill test FILE…      play scenarios and compare who is paged when
//	watchbill incident …      list, show, ack, note, resolve
//	watchbill oncall …        who is on duty and why; cover and swap
//	watchbill target …        how the service targets stand, and their rules
//	watchbill gate SERVICE    may it be released?
//
// # Exit status
//
//	0  all is well
//	1  something was found wrong, or an operation failed
//	2  the command line is not right
//	3  only warnings were found, and --strict was given
//	4  the daemon could not be reached
//	5  denied: no valid token, or the matrix does not allow it
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"watchbill"
	"watchbill/internal/config"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, os.Getenv)) }

// process is what a verb may use of the process that it runs in.
type process struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	transport      http.RoundTripper // to the daemon; nil is the network
}

func run(args []string, stdout, stderr io.Writer, getenv func(string) string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	root := newRoot(process{stdout: stdout, stderr: stderr, getenv: getenv})
	root.SetArgs(withUpdate(args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	return report(root.ExecuteContext(ctx), stderr)
}

// Exit statuses; see the package comment.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitWarnings
	exitUnreachable
	exitDenied
)

// errWarnings says that there was nothing worse than warnings, and that the
// caller asked to hear of them.
var errWarnings = errors.New("there are warnings")

// usageError is a mistake in the command line.
type usageError struct{ error }

// report prints an error with its next step and returns the exit status.
func report(err error, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errWarnings) {
		return exitWarnings
	}
	if errors.Is(err, errClosed) || errors.Is(err, errScenarios) || errors.Is(err, errGaps) {
		return exitFailed
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		problems.Print(stderr)
		return exitFailed
	}
	if e, ok := errors.AsType[*watchbill.Error](err); ok {
		fmt.Fprintf(stderr, "watchbill: %s\n", e.Message)
		if e.Hint != "" {
			fmt.Fprintf(stderr, "watchbill: hint: %s\n", e.Hint)
		}
		switch e.Code {
		case watchbill.CodeUnavailable:
			return exitUnreachable
		case watchbill.CodeDenied, watchbill.CodeUnauthenticated:
			return exitDenied
		case watchbill.CodeInvalid, watchbill.CodeNotFound, watchbill.CodeConflict, watchbill.CodeTooLarge, watchbill.CodeTooMany, watchbill.CodeInternal:
		}
		return exitFailed
	}
	fmt.Fprintf(stderr, "watchbill: %v\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintln(stderr, "watchbill: hint: add --help to see how it is used")
		return exitUsage
	}
	return exitFailed
}
