// Package migration holds the code of docs/migrating-from-x-oauth2.md, so that it
// compiles and is tested: a connection to Microsoft Graph as it is written by hand
// around golang.org/x/oauth2 (package before), the same on Bifrost (package after),
// and here what stands between the two: both side by side, and taking over the
// tokens.
//
// Start reading at that document.
package migration
