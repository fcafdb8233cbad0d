// Package config reads watchbill.yaml, and the files that it names, into the
// configurations of the rooms. docs/configuration.md is the reference of every
// key; this page says how the file is read.
//
// # The file
//
// One main file, and more by include: [conf.d/*.yaml]. They hold the same
// sections: lists append, mappings merge, and a value that two files set is a
// mistake that names both places. A relative path starts from the folder of the
// file that states it. A file may have 4 MB; aliases and merge keys are written
// out before anything is read, within a limit.
//
//	external_url: https://watchbill.example.com
//	roles: {preset: operations}
//	people:
//	  - {name: ana, roles: [manager, support], contact: [{receiver: terminal}]}
//
// Three kinds of section stand in it. The daemon's own: services, roles, matrix,
// people, activities, severities, rosters, incidents, escalation, runbooks, auth,
// alarm, deadman, audit.
// Prometheus': scrape_configs, and the files of rule_files. Alertmanager's:
// receivers, inhibit_rules, time_intervals, templates. The section global holds
// the keys of both of theirs, and each key goes to the one that knows it.
//
// # Mistakes
//
// [Load] returns all mistakes at once as [Problems], each with its file, line and
// column, the line itself, a caret and an advice:
//
//	watchbill.yaml:8:13: there is no role "supprt"
//	      roles: [supprt]
//	              ^
//	  advice: did you mean "support"?
//
// Unknown keys and unknown names are mistakes everywhere. Entries in the formats
// of Prometheus and Alertmanager are read by these libraries, one by one, and
// what they say is brought back to the key or the value it is about, or to the
// entry. A problem with Warning set is a doubt, and does not keep the
// configuration from being used.
//
// # Secrets
//
// Secrets come from files: keys that end in _file. Their paths may hold ${NAME}
// for an environment variable, as may the values of external_labels; nothing
// else is replaced. The values of keys that are named like a secret, and the
// paths of addresses, are blanked in the source lines of problems and in what the
// libraries say, and a [Config] formats as a summary of itself.
//
// # What is added
//
// After the file's own activities come st!="" for performance and
// signal="security" for security; after its inhibit rules come those by which a
// faster burn tier mutes the slower ones of the same service target. The rules
// made from service targets join the rule files.
//
// # Starting
//
// [Init] writes a commented configuration that works as it stands and overwrites
// nothing.
package config
