// Package collector is described here soon.
package collector
