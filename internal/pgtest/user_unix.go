//go:build unix

package pgtest

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// unprivileged returns how to start a server, which refuses to be run by root: as
// somebody else then.
func unprivileged() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true} // an interrupt in the terminal is the test binary's to pass on
	endWithParent(attr)
	if uid, gid, ok := other(); ok {
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return attr
}

// other returns who runs servers if root runs the tests.
func other() (uid, gid uint32, ok bool) {
	if os.Getuid() != 0 {
		return 0, 0, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if errU == nil && errG == nil {
			return uint32(uid), uint32(gid), true
		}
	}
	return 65534, 65534, true
}

// give makes files theirs who run servers.
func give(paths ...string) error {
	uid, gid, ok := other()
	if !ok {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, int(uid), int(gid)); err != nil {
			return fmt.Errorf("give %s to another user: %w", path, err)
		}
	}
	return nil
}
