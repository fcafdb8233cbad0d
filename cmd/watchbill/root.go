package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/web"
)

// app is one invocation: the process and the flags that all verbs share.
type app struct {
	process
	config    string
	url       string
	tokenFile string
	output    output
	warned    string
}

// output is the form in which results are printed.
type output string

const (
	outputSimple   output = "simple"
	outputExtended output = "extended"
	outputJSON     output = "json"
)

// String implements pflag.Value.
func (o *output) String() string { return string(*o) }

// Type implements pflag.Value.
func (*output) Type() string { return "form" }

// Set implements pflag.Value.
func (o *output) Set(s string) error {
	switch output(s) {
	case outputSimple, outputExtended, outputJSON:
		*o = output(s)
		return nil
	}
	return fmt.Errorf("%q is not simple, extended or json", s)
}

// newRoot returns the command with all its verbs.
func newRoot(p process) *cobra.Command {
	a := &app{process: p, output: outputSimple}
	root := &cobra.Command{
		Use:   "watchbill",
		Short: "Between a platform's signals and its people",
		Long: "Watchbill watches signals against service targets, pages whoever is responsible and on duty,\n" +
			"and follows each incident to its end.\n\n" +
			"To see it work:          watchbill demo\n" +
			"To begin with it:        watchbill init DIR, then check, explain and serve\n" +
			"When you are paged:      watchbill incident ack INC-1\n\n" +
			"It exits 0 when all is well, 1 when something was found wrong or failed, 2 when the command line is\n" +
			"not right, 3 for warnings alone (check --strict), 4 when the daemon cannot be reached, and 5 when you\n" +
			"are not allowed.",
		SilenceErrors: true, SilenceUsage: true,
		Args: noVerb,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "config", cmp.Or(p.getenv("WATCHBILL_CONFIG"), "watchbill.yaml"), "the configuration `FILE`; environment: WATCHBILL_CONFIG")
	flags.StringVar(&a.url, "url", cmp.Or(p.getenv("WATCHBILL_URL"), "http://"+config.DefaultListen), "`ADDRESS` of the daemon; environment: WATCHBILL_URL")
	flags.StringVar(&a.tokenFile, "token-file", p.getenv("WATCHBILL_TOKEN_FILE"), "`FILE` that holds your token; environment: WATCHBILL_TOKEN_FILE")
	flags.VarP(&a.output, "output", "o", "how results are printed: simple, extended or json")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		a.serve(), a.demo(), a.initVerb(), a.importVerb(), a.check(), a.explain(), a.test(), a.replay(),
		a.play(), a.incident(), a.alert(), a.raise(), a.plan(), a.action(), a.drill(), a.silence(),
		a.contact(), a.oncall(), a.handover(), a.ical(), a.coverage(), a.change(), a.report(), a.target(),
		a.gate(), a.signal(), a.heartbeat(), a.token(), a.person(), a.session(), a.audit(), a.alarm(),
		a.backup(), a.restore(), a.hold(), a.dashboards(), a.manual(), a.runbook(), a.version(),
	)
	return root
}

// args wraps a check of positional arguments so that its error counts as usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, a []string) error {
		if err := check(c, a); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// noVerb is the arguments' check of a command that only groups others: whatever
// is there was meant as a verb.
func noVerb(c *cobra.Command, words []string) error {
	if len(words) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	said := fmt.Sprintf("there is no verb %q in %q", words[0], c.CommandPath())
	if near := c.SuggestionsFor(words[0]); len(near) > 0 {
		said += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{errors.New(said)}
}

// client returns a client of the daemon, with the caller's token.
func (a *app) client() (*web.Client, error) {
	if a.tokenFile == "" {
		return nil, watchbill.Errorf(watchbill.CodeUnauthenticated,
			"name it with --token-file or WATCHBILL_TOKEN_FILE; whoever runs the daemon makes one with: watchbill token create --person YOU --out FILE",
			"the daemon needs to know who you are, and no token was given")
	}
	b, err := os.ReadFile(a.tokenFile)
	if err != nil {
		return nil, watchbill.Errorf(watchbill.CodeUnauthenticated, "check --token-file", "cannot read your token: %v", err)
	}
	return &web.Client{URL: a.url, Token: strings.TrimSpace(string(b)), HTTP: &http.Client{Timeout: 30 * time.Second, Transport: a.transport}, Warn: a.warn}, nil
}

// warn says something once that is no part of the result.
func (a *app) warn(text string) {
	if a.warned != text {
		a.warned = text
		fmt.Fprintln(a.stderr, "warning: "+text)
	}
}

// load reads the configuration that --config names.
func (a *app) load() (*config.Config, error) { return config.Load(a.config, a.getenv) }

// print writes a result in the form that was asked for.
func (a *app) print(v any, simple, extended func()) error {
	switch a.output {
	case outputJSON:
		e := json.NewEncoder(a.stdout)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case outputExtended:
		extended()
	case outputSimple:
		simple()
	}
	return nil
}
