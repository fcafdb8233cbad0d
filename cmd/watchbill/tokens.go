package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"watchbill/internal/auth"
	"watchbill/internal/daemon"
)

func (a *app) tokenList() *cobra.Command {
	var all, mine bool
	c := &cobra.Command{
		Use: "list", Short: "List tokens, with their last use and their end", Args: args(cobra.NoArgs),
		Long: "List the tokens in the store that --config names, or with --mine your own as the daemon knows them. The\n" +
			"last use is at most an hour behind. Those that were revoked or ended are shown with --all.",
		Example: "  watchbill token list\n  watchbill token list --mine",
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := a.tokens(c.Context(), mine)
			if err != nil {
				return err
			}
			if !all {
				list = auth.Live(list)
			}
			text := func() { a.printTokens(list) }
			return a.print(list, text, text)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "show those too that are not accepted any more")
	c.Flags().BoolVar(&mine, "mine", false, "list your own, through the daemon")
	return c
}

// tokens reads them from the store or, the caller's own, from the daemon.
func (a *app) tokens(ctx context.Context, mine bool) ([]auth.View, error) {
	if mine {
		client, err := a.client()
		if err != nil {
			return nil, err
		}
		return client.MyTokens(ctx)
	}
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	return daemon.ListTokens(ctx, cfg)
}

func (a *app) printTokens(list []auth.View) {
	const form = "%-14s  %-20s  %-28s  %-16s  %s\n"
	fmt.Fprintf(a.stdout, form, "TOKEN", "NAME", "OF", "LAST USED", "ENDS")
	for _, t := range list {
		of := string(t.Person)
		if t.Machine {
			scopes := make([]string, len(t.Scopes))
			for i, s := range t.Scopes {
				scopes[i] = string(s)
			}
			of = "machine: " + strings.Join(scopes, ", ")
		}
		used := "never"
		if !t.LastUsedAt.IsZero() {
			used = minute(t.LastUsedAt)
		}
		ends := minute(t.ExpiresAt)
		switch t.State {
		case auth.StateExpiring:
			ends += ", soon: make another"
		case auth.StateRevoked:
			ends = "revoked " + minute(t.RevokedAt) + " by " + t.RevokedBy
		case auth.StateExpired:
			ends += ", over"
		case auth.StateGone:
			ends += ", but its person is not configured"
		case auth.StateValid:
		}
		fmt.Fprintf(a.stdout, form, t.ID, t.Name, of, used, ends)
	}
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02T15:04Z") }

func (a *app) tokenRevoke() *cobra.Command {
	var mine bool
	c := &cobra.Command{
		Use: "revoke TOKEN", Short: "Revoke a token by its id", Args: args(cobra.ExactArgs(1)),
		Long: "Revoke a token, by the id that the list shows, in the store that --config names; a running daemon refuses\n" +
			"it within a second. With --mine the daemon revokes one of your own, at once.",
		Example: "  watchbill token revoke t-k3v6zq5d2m7a",
		RunE: func(c *cobra.Command, words []string) error {
			v, err := a.revoke(c.Context(), words[0], mine)
			if err != nil {
				return err
			}
			text := func() { fmt.Fprintf(a.stdout, "%s (%s) is revoked\n", v.ID, v.Name) }
			return a.print(v, text, text)
		},
	}
	c.Flags().BoolVar(&mine, "mine", false, "revoke one of your own, through the daemon")
	return c
}

func (a *app) revoke(ctx context.Context, id string, mine bool) (auth.View, error) {
	if mine {
		client, err := a.client()
		if err != nil {
			return auth.View{}, err
		}
		return client.RevokeToken(ctx, id)
	}
	cfg, err := a.load()
	if err != nil {
		return auth.View{}, err
	}
	return daemon.RevokeToken(ctx, cfg, id, creator())
}
