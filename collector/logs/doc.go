// Package logs asks Loki for numbers: LogQL metric queries, each on its own
// interval, whose results become series.
//
// A query is asked at an instant, GET /loki/api/v1/query, and its vector or
// scalar is written with the time at which it was asked. Results that are no
// numbers, and those over a limit, are failures. After a failure nothing is kept
// of the last result: its series get staleness markers. So do the series that a
// result does not have any more. An empty result is a result.
//
// Of each query it is written too whether it worked, how many series it gave and
// how long it took: [UpMetric], [SeriesMetric] and [DurationMetric], with the
// labels of the query. [Rules] makes alerts of them.
//
// A server that is busy or down (429, 5xx, no connection) is asked again within
// the query's timeout, with growing waits and not before Retry-After.
package logs
