//go:build release

package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRelease holds what `make release` built, in the folder that the environment
// names: the Debian package of this machine is unpacked, and its binary run on
// its configuration.
func TestRelease(t *testing.T) {
	dir := os.Getenv("WATCHBILL_RELEASE")
	require.NotEmpty(t, dir, "run make release")
	one := func(pattern string) string {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		require.Len(t, found, 1, pattern)
		return found[0]
	}
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		require.NoError(t, err, "%s %v: %s", name, args, out)
		return string(out)
	}
	sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	require.NoError(t, err)
	for _, arch := range []string{"amd64", "arm64"} {
		for _, pattern := range []string{"watchbill-*-linux-" + arch, "watchbill_*_" + arch + ".deb", "watchbill-*-linux-" + arch + ".cdx.json"} {
			path := one(pattern)
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			sum := sha256.Sum256(content)
			require.Contains(t, string(sums), hex.EncodeToString(sum[:])+"  "+filepath.Base(path)+"\n")
		}
		var bill struct {
			BOMFormat  string `json:"bomFormat"`
			Components []struct{ Name, Version string }
		}
		content, err := os.ReadFile(one("watchbill-*-linux-" + arch + ".cdx.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(content, &bill))
		require.Equal(t, "CycloneDX", bill.BOMFormat)
		require.Greater(t, len(bill.Components), 100)
	}

	deb, root := one("watchbill_*_"+runtime.GOARCH+".deb"), t.TempDir()
	run("dpkg-deb", "--extract", deb, root)
	info := run("dpkg-deb", "--info", deb)
	require.Contains(t, info, "Package: watchbill\n")
	control := t.TempDir()
	run("dpkg-deb", "--control", deb, control)
	conffiles, err := os.ReadFile(filepath.Join(control, "conffiles"))
	require.NoError(t, err)
	require.Equal(t, "/etc/watchbill/watchbill.yaml\n", string(conffiles))
	for _, script := range []string{"postinst", "prerm"} {
		run("sh", "-n", filepath.Join(control, script))
	}
	for _, path := range []string{
		"usr/lib/systemd/system/watchbill.service", "usr/share/man/man1/watchbill.1.gz", "usr/share/man/man1/watchbill-incident-ack.1.gz",
		"usr/share/bash-completion/completions/watchbill", "usr/share/zsh/vendor-completions/_watchbill",
		"usr/share/fish/vendor_completions.d/watchbill.fish", "usr/share/watchbill/grafana/dashboards/watchbill-health.json",
		"usr/share/doc/watchbill/copyright",
	} {
		require.FileExists(t, filepath.Join(root, path))
	}
	binary := filepath.Join(root, "usr/bin/watchbill")
	version := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(one("watchbill-*-linux-"+runtime.GOARCH)), "watchbill-"), "-linux-"+runtime.GOARCH)
	require.Contains(t, run(binary, "version"), "watchbill "+version+" (")
	require.NotContains(t, version, "devel")
	require.NotContains(t, run("go", "version", "-m", binary), "CGO_ENABLED=1")
	run(binary, "check", "--strict", filepath.Join(root, "etc/watchbill/watchbill.yaml"))
}
