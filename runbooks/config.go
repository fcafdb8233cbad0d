package runbooks

// Config says where runbooks come from.
type Config struct {
	// Dir is a folder of *.md files beside the configuration. Its runbooks win
	// over those of the library in the binary. Empty: the library alone. Folders
	// below it and a README.md in it are not read.
	Dir string
}
