package main

import (
	"cmp"
	"encoding/json"
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
			"and follows each incident to its end. Start with: watchbill demo",
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "config", cmp.Or(p.getenv("WATCHBILL_CONFIG"), "watchbill.yaml"), "configuration `FILE` (WATCHBILL_CONFIG)")
	flags.StringVar(&a.url, "url", cmp.Or(p.getenv("WATCHBILL_URL"), "http://"+config.DefaultListen), "address of the daemon (WATCHBILL_URL)")
	flags.StringVar(&a.tokenFile, "token-file", p.getenv("WATCHBILL_TOKEN_FILE"), "`FILE` that holds your token (WATCHBILL_TOKEN_FILE)")
	flags.VarP(&a.output, "output", "o", "simple, extended or json")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(a.serve(), a.demo(), a.initVerb(), a.check(), a.explain(), a.incident(), a.token(), a.audit(), a.version())
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

// client returns a client of the daemon, with the caller's token.
func (a *app) client() (*web.Client, error) {
	if a.tokenFile == "" {
		return nil, watchbill.Errorf(watchbill.CodeUnauthenticated,
			"name it with --token-file or WATCHBILL_TOKEN_FILE; whoever runs the daemon makes one with: watchbill token create --person YOU",
			"this needs your token")
	}
	b, err := os.ReadFile(a.tokenFile)
	if err != nil {
		return nil, watchbill.Errorf(watchbill.CodeUnauthenticated, "check --token-file", "cannot read your token: %v", err)
	}
	return &web.Client{URL: a.url, Token: strings.TrimSpace(string(b)), HTTP: &http.Client{Timeout: 30 * time.Second}}, nil
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
