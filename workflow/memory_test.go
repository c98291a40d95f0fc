package workflow_test

import (
	"testing"

	"github.com/bifrost-go/bifrost/workflow"
	"github.com/bifrost-go/bifrost/workflow/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) workflow.Store { return workflow.NewMemory() })
}
