package collector

import (
	"testing"

	"github.com/alecthomas/units"
	"github.com/stretchr/testify/require"
)

// What is stated stays, what is not gets the limit of the global section, and
// without one ours.
func TestLimitsThatAreNotStated(t *testing.T) {
	t.Parallel()
	prom, err := loadPrometheus([]byte(`
global: {label_limit: 20}
scrape_configs:
  - {job_name: own, sample_limit: 7, label_limit: 30, body_size_limit: 1MB}
  - {job_name: ours}
`))
	require.NoError(t, err)
	limited(prom)
	own, ours := prom.ScrapeConfigs[0], prom.ScrapeConfigs[1]
	require.Equal(t, []uint{7, 30, DefaultTargetLimit}, []uint{own.SampleLimit, own.LabelLimit, own.TargetLimit})
	require.Equal(t, units.MiB, own.BodySizeLimit)
	require.Equal(t, []uint{DefaultSampleLimit, 20, DefaultTargetLimit, DefaultLabelNameLengthLimit, DefaultLabelValueLengthLimit},
		[]uint{ours.SampleLimit, ours.LabelLimit, ours.TargetLimit, ours.LabelNameLengthLimit, ours.LabelValueLengthLimit})
	require.Equal(t, DefaultBodySizeLimit, ours.BodySizeLimit)
	require.EqualValues(t, DefaultSampleLimit, prom.GlobalConfig.SampleLimit, "for scrape_config_files")
}
