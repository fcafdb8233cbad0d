package scenario

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"time"
)

// The XML that CI servers read of test runs. There is no standard; these are the
// elements and attributes that all of them know, as Jenkins' schema has them.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
	took     time.Duration
}

type junitCase struct {
	Name      string       `xml:"name,attr"`
	Classname string       `xml:"classname,attr"`
	File      string       `xml:"file,attr"`
	Time      string       `xml:"time,attr"`
	Failure   *junitReport `xml:"failure,omitempty"`
	Error     *junitReport `xml:"error,omitempty"`
}

type junitReport struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes results as JUnit XML, a suite for each folder.
func WriteJUnit(w io.Writer, results []Result) error {
	all := junitSuites{Tests: len(results)}
	var total time.Duration
	byDir := map[string]int{}
	for _, r := range results {
		dir := cmp.Or(path.Dir(r.Name), ".")
		i, known := byDir[dir]
		if !known {
			i = len(all.Suites)
			byDir[dir] = i
			all.Suites = append(all.Suites, junitSuite{Name: dir})
		}
		s := &all.Suites[i]
		c := junitCase{Name: path.Base(r.Name), Classname: dir, File: r.Path, Time: seconds(r.Took)}
		switch {
		case r.OK:
		case r.Diff != "":
			c.Failure = &junitReport{cmp.Or(r.Error, "the timeline is another one"), r.Diff}
			s.Failures++
			all.Failures++
		default:
			c.Error = &junitReport{"it could not be played", r.Error}
			s.Errors++
			all.Errors++
		}
		s.Tests++
		s.took += r.Took
		total += r.Took
		s.Cases = append(s.Cases, c)
	}
	for i := range all.Suites {
		all.Suites[i].Time = seconds(all.Suites[i].took)
	}
	all.Time = seconds(total)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
