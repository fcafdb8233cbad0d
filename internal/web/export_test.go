package web

// NextPage is nextPage, for its fuzz test.
func NextPage(next string) string { return nextPage(next) }
