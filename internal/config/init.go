package config

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"watchbill"
)

// starter is the configuration that Init writes.
//
//go:embed starter
var starter embed.FS

// Init writes a commented starting configuration to a folder, which it makes if
// needed. It overwrites nothing: if one of its files is there already, it
// writes none.
func Init(dir string) error {
	files, err := fs.Sub(starter, "starter")
	if err != nil {
		return fmt.Errorf("open the starting configuration: %w", err)
	}
	visit := func(act func(name, path string) error) error {
		return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return act(name, filepath.Join(dir, filepath.FromSlash(name)))
		})
	}
	err = visit(func(_, path string) error {
		if _, err := os.Lstat(path); err == nil {
			return watchbill.Errorf(watchbill.CodeConflict, "choose another folder, or remove the file", "%s is there already", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look at %s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return visit(func(name, path string) error {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("read the starting configuration: %w", err)
		}
		if err := writeNew(path, content); err != nil {
			return fmt.Errorf("write the starting configuration: %w", err)
		}
		return nil
	})
}

// writeNew writes a file that must not exist.
func writeNew(path string, content []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(content)
	return err
}
