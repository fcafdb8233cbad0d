package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manual writes the pages for man(1), which packages bring.
func (a *app) manual() *cobra.Command {
	return &cobra.Command{
		Use: "manual DIR", Short: "Write manual pages into a folder", Hidden: true,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, dir []string) error {
			if err := os.MkdirAll(dir[0], 0o755); err != nil {
				return fmt.Errorf("make a folder for the pages: %w", err)
			}
			root := c.Root()
			root.DisableAutoGenTag = true
			// The date is not that of the build, so that the same sources give the same
			// pages.
			date := time.Unix(0, 0).UTC()
			header := &doc.GenManHeader{Title: "WATCHBILL", Section: "1", Source: "watchbill", Manual: "Watchbill", Date: &date}
			if err := doc.GenManTree(root, header, dir[0]); err != nil {
				return fmt.Errorf("write the pages: %w", err)
			}
			return nil
		},
	}
}
