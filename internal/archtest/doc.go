// Package archtest holds the import rule of this module, over everything that a
// room imports, directly or through others. The linter's depguard says the same
// about single lines, where it is read while editing.
package archtest
