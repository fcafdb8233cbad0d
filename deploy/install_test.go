package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"watchbill/internal/config"
)

// TestShippedConfigurations loads each configuration that an installation begins
// with, without a doubt; its store is where the installation keeps its state.
func TestShippedConfigurations(t *testing.T) {
	t.Parallel()
	packaged, err := os.ReadFile("package/watchbill.yaml")
	require.NoError(t, err)
	composed, err := os.ReadFile("compose/watchbill.yaml")
	require.NoError(t, err)
	for name, content := range map[string]string{
		"package": string(packaged), "compose": string(composed), "kubernetes": manifests(t).config.Data["watchbill.yaml"],
	} {
		path := filepath.Join(t.TempDir(), "watchbill.yaml")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		cfg, err := config.Load(path, noEnv)
		require.NoError(t, err, name)
		require.Empty(t, cfg.Warnings, name)
		require.Equal(t, "/var/lib/watchbill", cfg.DataDir, name)
	}
}

// TestUnit holds the systemd unit to what systemd itself says of it.
func TestUnit(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile("systemd/watchbill.service")
	require.NoError(t, err)
	for _, line := range []string{
		"Type=notify", "WatchdogSec=30", "Restart=always", "User=watchbill", "StateDirectory=watchbill",
		"ExecStart=/usr/bin/watchbill serve --config /etc/watchbill/watchbill.yaml",
	} {
		require.Contains(t, string(unit), "\n"+line+"\n")
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil { // a machine without systemd, such as a container: the lines above are all that is held
		t.Log("systemd-analyze is not here")
		return
	}
	// The program that it starts and its manual page are not installed here.
	path := filepath.Join(t.TempDir(), "watchbill.service")
	text := strings.NewReplacer("/usr/bin/watchbill ", "/bin/true ", "Documentation=man:watchbill(1)\n", "").Replace(string(unit))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "watchbill.service", "systemd has doubts")
	out, err = exec.Command(analyze, "security", "--offline=true", "--threshold=20", path).CombinedOutput()
	require.NoError(t, err, "its exposure is more than 2.0: %s", out)
}

type labels = map[string]string

type meta struct {
	Name   string
	Labels labels
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
	Period  int                         `yaml:"periodSeconds"`
	Timeout int                         `yaml:"timeoutSeconds"`
	Failure int                         `yaml:"failureThreshold"`
}

type selector struct {
	MatchLabels labels `yaml:"matchLabels"`
}

type statefulSet struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   meta
	Spec       struct {
		ServiceName string `yaml:"serviceName"`
		Replicas    int
		Selector    selector
		Template    struct {
			Metadata meta
			Spec     struct {
				Token    *bool `yaml:"automountServiceAccountToken"`
				Grace    int   `yaml:"terminationGracePeriodSeconds"`
				Security struct {
					NonRoot bool                  `yaml:"runAsNonRoot"`
					User    int                   `yaml:"runAsUser"`
					Group   int                   `yaml:"runAsGroup"`
					FSGroup int                   `yaml:"fsGroup"`
					Seccomp struct{ Type string } `yaml:"seccompProfile"`
				} `yaml:"securityContext"`
				Containers []struct {
					Name, Image string
					Ports       []struct {
						Name string
						Port int `yaml:"containerPort"`
					}
					Security struct {
						Escalation   *bool `yaml:"allowPrivilegeEscalation"`
						ReadOnly     bool  `yaml:"readOnlyRootFilesystem"`
						Capabilities struct{ Drop []string }
					} `yaml:"securityContext"`
					Startup   probe `yaml:"startupProbe"`
					Live      probe `yaml:"livenessProbe"`
					Ready     probe `yaml:"readinessProbe"`
					Resources struct{ Requests, Limits labels }
					Mounts    []struct {
						Name, MountPath string
						ReadOnly        bool `yaml:"readOnly"`
					} `yaml:"volumeMounts"`
				}
				Volumes []struct {
					Name      string
					ConfigMap meta `yaml:"configMap"`
				}
			}
		}
		Claims []struct {
			Metadata meta
			Spec     struct {
				Modes     []string `yaml:"accessModes"`
				Resources struct{ Requests labels }
			}
		} `yaml:"volumeClaimTemplates"`
	}
}

type cluster struct {
	config struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   meta
		Data       map[string]string
	}
	service struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   meta
		Spec       struct {
			Selector labels
			NotReady bool `yaml:"publishNotReadyAddresses"`
			Ports    []struct {
				Name   string
				Port   int
				Target string `yaml:"targetPort"`
			}
		}
	}
	budget struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   meta
		Spec       struct {
			MaxUnavailable *int `yaml:"maxUnavailable"`
			Selector       selector
		}
	}
	set statefulSet
}

// manifests reads Kubernetes' manifests strictly: a field that is none of
// Kubernetes' that we use is a mistake.
func manifests(t *testing.T) (c cluster) {
	t.Helper()
	content, err := os.ReadFile("kubernetes/watchbill.yaml")
	require.NoError(t, err)
	content = bytes.ReplaceAll(content, []byte("mountPath:"), []byte("mountpath:"))
	d := yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	for _, into := range []any{&c.config, &c.service, &c.budget, &c.set} {
		require.NoError(t, d.Decode(into))
	}
	require.True(t, errors.Is(d.Decode(&struct{}{}), io.EOF))
	return c
}

// TestKubernetes holds that the manifests fit each other and the daemon.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	require.Equal(t, []string{"v1 ConfigMap", "v1 Service", "policy/v1 PodDisruptionBudget", "apps/v1 StatefulSet"}, []string{
		c.config.APIVersion + " " + c.config.Kind, c.service.APIVersion + " " + c.service.Kind,
		c.budget.APIVersion + " " + c.budget.Kind, c.set.APIVersion + " " + c.set.Kind,
	})
	pod := c.set.Spec.Template
	for _, s := range []labels{c.service.Spec.Selector, c.budget.Spec.Selector.MatchLabels, c.set.Spec.Selector.MatchLabels} {
		require.Equal(t, pod.Metadata.Labels, s)
	}
	require.Equal(t, 1, c.set.Spec.Replicas, "a second one on the same disk does not start")
	require.Equal(t, c.service.Metadata.Name, c.set.Spec.ServiceName)
	require.Zero(t, *c.budget.Spec.MaxUnavailable)
	require.True(t, pod.Spec.Security.NonRoot)
	require.NotZero(t, pod.Spec.Security.User)
	require.Equal(t, pod.Spec.Security.Group, pod.Spec.Security.FSGroup)
	require.Len(t, pod.Spec.Containers, 1)
	w := pod.Spec.Containers[0]
	require.True(t, w.Security.ReadOnly)
	require.False(t, *w.Security.Escalation)
	require.Equal(t, []string{"ALL"}, w.Security.Capabilities.Drop)
	require.Equal(t, 9095, w.Ports[0].Port)
	require.Equal(t, w.Ports[0].Name, c.service.Spec.Ports[0].Target)
	require.Equal(t, "/-/healthy", w.Live.HTTPGet.Path)
	require.Equal(t, "/-/healthy", w.Startup.HTTPGet.Path)
	require.Equal(t, "/-/ready", w.Ready.HTTPGet.Path)
	mounts := map[string]string{}
	for _, m := range w.Mounts {
		mounts[m.Name] = m.MountPath
	}
	require.Equal(t, map[string]string{pod.Spec.Volumes[0].Name: "/etc/watchbill", c.set.Spec.Claims[0].Metadata.Name: "/var/lib/watchbill"}, mounts)
	require.Equal(t, c.config.Metadata.Name, pod.Spec.Volumes[0].ConfigMap.Name)
}

// TestCompose holds the compose example: what it mounts is there, and nothing
// that must not is open to the network.
func TestCompose(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("compose/compose.yaml")
	require.NoError(t, err)
	var c struct {
		Services map[string]struct {
			Build       struct{ Context, Dockerfile string }
			Image       string
			ReadOnly    bool     `yaml:"read_only"`
			CapDrop     []string `yaml:"cap_drop"`
			SecurityOpt []string `yaml:"security_opt"`
			Restart     string
			Ports       []string
			Volumes     []string
			Environment map[string]string
		}
		Volumes map[string]struct{}
	}
	d := yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	require.NoError(t, d.Decode(&c))
	require.Len(t, c.Services, 3)
	for name, s := range c.Services {
		require.Equal(t, "always", s.Restart)
		for _, p := range s.Ports {
			require.True(t, strings.HasPrefix(p, "127.0.0.1:"), "%s opens %s", name, p)
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			switch {
			case from == "./secrets": // whoever installs it makes it
			case strings.HasPrefix(from, "."):
				_, err := os.Stat(filepath.Join("compose", from))
				require.NoError(t, err, name)
			default:
				require.Contains(t, c.Volumes, from, name)
			}
		}
	}
	w := c.Services["watchbill"]
	require.True(t, w.ReadOnly)
	_, err = os.Stat(filepath.Join("compose", w.Build.Context, w.Build.Dockerfile))
	require.NoError(t, err)
	file, err := os.ReadFile("docker/Dockerfile")
	require.NoError(t, err)
	require.Regexp(t, regexp.MustCompile(`(?m)^FROM scratch$`), string(file))
	require.Regexp(t, regexp.MustCompile(`(?m)^USER 65532:65532$`), string(file), "it is not root")
	require.Contains(t, string(file), "-o /out/usr/bin/watchbill ./cmd/watchbill")
}

// TestPrometheusOfTheExample is read by Prometheus itself, where it is.
func TestPrometheusOfTheExample(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("WATCHBILL_REQUIRE_PEERS") == "" {
		t.Skip("promtool is not here")
	}
	require.NoError(t, err)
	out, err := exec.Command(promtool, "check", "config", "--syntax-only", "compose/prometheus.yml").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
