package pgtest

import "syscall"

// endWithParent makes a server end when the test binary is killed.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
