package sqlstore

import (
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Planned returns statements that run inside of transactions and must not read
// more than they concern, for the engines' tests of query plans.
func Planned() []string {
	org := "o"
	list := []string{
		lockQuery, tryLockQuery, definitionVersion, definitionName, settingsVersion, executionOfKey, claimExecution, lockExecution, checkExecution, deleteOrg,
		clearedSettings("d", "").text, clearedSettings("", "o").text, clearedSettings("d", "o").text,
	}
	for _, match := range []tokenstore.Match{{}, {Definition: "d"}, {Org: &org}, {Definition: "d", Org: &org}} {
		for _, age := range []time.Duration{0, time.Hour} {
			list = append(list, deletedEvents(match, age, 1).text)
		}
	}
	return list
}
