// Package incident is described here soon.
package incident
