package postgres_test

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bifrost-go/bifrost/postgres"
)

// A database of Bifrost's own, or one that others use too.
func ExampleOpen() {
	db, err := postgres.Open(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		fmt.Println(err) // says what to do, and holds no password
		return
	}
	defer func() { _ = db.Close() }()
	// bifrost.New(bifrost.Config{Store: db, …})
}

// A pool that your program has already. Bifrost's tables stand beside yours.
func ExampleNew() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	db, err := postgres.New(ctx, pool)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }() // the pool stays open
}

// With PgBouncer in transaction mode, several addresses, and a role that may not
// change the schema: the schema is brought up to date by a job that may.
func ExampleWithoutMigration() {
	db, err := postgres.Open(context.Background(),
		"postgres://bifrost@bouncer-a.internal,bouncer-b.internal:6432/app?sslmode=verify-full&pool_max_conns=20",
		postgres.WithoutMigration())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
}
