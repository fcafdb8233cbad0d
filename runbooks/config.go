package runbooks

// Config says where runbooks come from.
type Config struct {
	// Dir is a folder of *.md files beside the configuration. Its runbooks win
	// over those of the library in the binary. Empty: the library alone.
	Dir string
}
