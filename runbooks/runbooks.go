// Package runbooks is described here soon.
package runbooks
