package config

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/router"
)

// idPattern is what a name that people type and programs store may look like.
var idPattern = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N}._@-]*$`)

// name checks a name that must be there, be typeable, and be the only one of
// its kind. It reports whether the name may be used.
func (b *builder) name(t text, entry *yaml.Node, kind string, seen map[string]*yaml.Node) bool {
	if !t.given() {
		if keyNode(entry, "name") == nil && keyNode(entry, "id") == nil {
			b.problem(entry, "give it one", "a %s without a name", kind)
		}
		return false
	}
	if !idPattern.MatchString(t.v) {
		b.problem(t.n, "use letters, digits, and . _ @ - inside", "%q cannot be the name of a %s", t.v, kind)
		return false
	}
	if first := seen[t.v]; first != nil {
		b.problem(t.n, "it is also defined at "+b.place(first)+": rename or remove one of the two", "a second %s %q", kind, t.v)
		return false
	}
	seen[t.v] = t.n
	return true
}

// known checks that a text is one of some names.
func (b *builder) known(t text, kind string, names []string) bool {
	if !t.given() {
		return false
	}
	if slices.Contains(names, t.v) {
		return true
	}
	b.problem(t.n, didYouMean(t.v, names, "define it first"), "there is no %s %q", kind, t.v)
	return false
}

// knownRole is known for roles; it trusts every name if roles could not be
// read, because the mistake is there.
func (b *builder) knownRole(t text) bool {
	if into := b.mergedInto[t.v]; t.given() && into != "" && into != t.v {
		b.problem(t.n, "write "+into, "the role %s is merged into %s", t.v, into)
		return false
	}
	return t.given() && (b.untrusted || b.known(t, "role", b.roles))
}

// needFolder reports whether a path is a folder, and records a problem if not.
func (b *builder) needFolder(t text, path string) bool {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		b.problem(t.n, "make the folder, or remove the key", "%s cannot be read: %v", t.v, plainFileError(err))
	case !info.IsDir():
		b.problem(t.n, "name the folder, not a file in it", "%s is not a folder", t.v)
	default:
		return true
	}
	return false
}

// matrix reads roles and matrix.
func (b *builder) matrix() {
	m := b.rolesSection()
	for _, r := range m.Roles {
		b.roles = append(b.roles, string(r.ID))
	}
	for _, a := range m.Activities {
		b.activities = append(b.activities, string(a.ID))
	}
	for _, row := range b.file.Matrix {
		b.matrixRow(&m, row)
	}
	for _, a := range m.Activities {
		if b.untrusted || len(m.Responsible(a.ID)) > 0 {
			continue
		}
		at := keyNode(valueNode(b.root, "matrix"), string(a.ID))
		for _, key := range []string{"matrix", "roles"} {
			if at == nil {
				at = keyNode(b.root, key)
			}
		}
		b.warn(at, "mark a role: matrix: {"+string(a.ID)+": {ROLE: yes}}",
			"nobody is responsible for %s: its alerts go to the manager", a.ID)
	}
	b.cfg.Matrix = m
}

// rolesSection returns the matrix of the preset, or an empty one of the user's
// own roles.
func (b *builder) rolesSection() watchbill.Matrix {
	operations, _ := router.Preset("operations")
	r := b.file.Roles
	if r.n != nil && r.n.Kind == yaml.SequenceNode {
		return b.ownRoles(operations.Activities)
	}
	if !r.Preset.given() {
		if r.n == nil || r.n.Kind == yaml.MappingNode && keyNode(r.n, "preset") == nil {
			at := r.n
			if at == nil {
				at = b.root
			}
			b.problem(at, "add roles: {preset: operations}, or a list of roles", "there are no roles")
		}
		b.untrusted = true
		return operations
	}
	m, ok := router.Preset(r.Preset.v)
	if !ok {
		b.known(r.Preset, "preset of roles", router.Presets())
		b.untrusted = true
		return operations
	}
	return b.merged(m, r.rolesPreset)
}

// merged makes columns of a preset one, and names the role that answers for what
// nobody owns.
func (b *builder) merged(m watchbill.Matrix, p rolesPreset) watchbill.Matrix {
	var titles []string
	for _, r := range m.Roles {
		titles = append(titles, string(r.ID))
	}
	taken := map[string]string{}
	for _, e := range p.Merge {
		if !idPattern.MatchString(e.Key.v) {
			b.problem(e.Key.n, "use letters, digits, and . _ @ - inside", "%q cannot be the name of a role", e.Key.v)
			continue
		}
		var from []watchbill.RoleID
		title := ""
		for _, t := range e.Value {
			switch {
			case !b.known(t, "role", titles):
			case taken[t.v] != "":
				b.problem(t.n, "name it once", "%s is a part of %s already", t.v, taken[t.v])
			default:
				taken[t.v] = e.Key.v
				from = append(from, watchbill.RoleID(t.v))
				title = strings.TrimPrefix(title+" & "+titleOf(m, from[len(from)-1]), " & ")
			}
		}
		into := watchbill.RoleID(e.Key.v)
		switch {
		case len(from) < 2:
			b.problem(e.Key.n, "write "+e.Key.v+": [ROLE, ROLE]", "%s is not made of two roles or more", e.Key.v)
		case m.HasRole(into) && !slices.Contains(from, into):
			b.problem(e.Key.n, "name it as one of its parts, or choose another name", "%s is another role already", e.Key.v)
		default:
			m = m.Merge(watchbill.Role{ID: into, Title: title}, from...)
		}
	}
	b.mergedInto = taken
	if p.Manager.given() {
		names := make([]string, len(m.Roles))
		for i, r := range m.Roles {
			names[i] = string(r.ID)
		}
		if b.known(p.Manager, "role", names) {
			m.Manager = watchbill.RoleID(p.Manager.v)
		}
	}
	return m
}

func titleOf(m watchbill.Matrix, id watchbill.RoleID) string {
	for _, r := range m.Roles {
		if r.ID == id {
			return r.Title
		}
	}
	return string(id)
}

// ownRoles reads a list of roles. The daemon's activities are rows of every
// matrix; their cells are empty until the matrix section fills them.
func (b *builder) ownRoles(activities []watchbill.Activity) watchbill.Matrix {
	m := watchbill.Matrix{Activities: activities, Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{}}
	seen := map[string]*yaml.Node{}
	var manager *yaml.Node
	for _, e := range b.file.Roles.list {
		if !b.name(e.ID, e.Node, "role", seen) {
			b.untrusted = true
			continue
		}
		m.Roles = append(m.Roles, watchbill.Role{ID: watchbill.RoleID(e.ID.v), Title: e.Title.or(e.ID.v)})
		if !e.Manager.v {
			continue
		}
		if manager != nil {
			b.problem(e.Manager.n, "the other is at "+b.place(manager)+": one role answers for what nobody owns", "a second manager role")
		}
		manager, m.Manager = e.Manager.n, watchbill.RoleID(e.ID.v)
	}
	if manager == nil && !b.untrusted {
		b.problem(b.file.Roles.n, "add manager: true to one of them: it answers for everything unowned", "no role is the manager")
	}
	return m
}

// matrixRow changes the cells of one activity, and adds the activity if it is
// new.
func (b *builder) matrixRow(m *watchbill.Matrix, row pair[table[text]]) {
	id := watchbill.ActivityID(row.Key.v)
	if !m.HasActivity(id) {
		if !idPattern.MatchString(row.Key.v) {
			b.problem(row.Key.n, "use letters, digits, and . _ @ - inside", "%q cannot be the name of an activity", row.Key.v)
			return
		}
		if near := nearest(row.Key.v, b.activities); near != "" {
			b.warn(row.Key.n, "did you mean \""+near+"\"?", "%q becomes an activity of its own, very like another one", row.Key.v)
		}
		m.Activities = append(slices.Clip(m.Activities), watchbill.Activity{ID: id, Title: row.Key.v})
		b.activities = append(b.activities, row.Key.v)
	}
	if m.Marks[id] == nil {
		m.Marks[id] = map[watchbill.RoleID]watchbill.Mark{}
	}
	b.cells(m.Marks[id], row.Value)
}

// cells changes the cells of a row.
func (b *builder) cells(row map[watchbill.RoleID]watchbill.Mark, cells table[text]) {
	for _, cell := range cells {
		known := b.knownRole(cell.Key)
		if !cell.Value.given() {
			continue
		}
		mark, err := watchbill.ParseMark(cell.Value.v)
		if err != nil {
			marks := []string{"yes", "first", "on-request", "no"}
			advice := "use " + strings.Join(marks, ", ")
			if near := nearest(cell.Value.v, marks); near != "" {
				advice = "did you mean \"" + near + "\"?"
			}
			b.problem(cell.Value.n, advice, "%q is not a mark of the matrix", cell.Value.v)
			continue
		}
		if known {
			row[watchbill.RoleID(cell.Key.v)] = mark
		}
	}
}
