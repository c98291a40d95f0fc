package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

// pipeline is statements that are sent in one message, and of which none is run
// after one that fails. None gets a name: of equal texts in a row the first is
// parsed, as the session's nameless statement, and the others only bound.
type pipeline struct {
	conn   *pgx.Conn
	batch  pgconn.Batch
	values pgx.ExtendedQueryBuilder
	parsed string
	rows   []func(scan sqlstore.Scanner) error
	err    error // of an argument that cannot be sent
}

// binaryFormat is how answers are to come: bytes as they are, and not as hexadecimal text.
var binaryFormat = []int16{pgx.BinaryFormatCode}

// add appends a statement. Row is called for each row that it yields, and may be nil.
func (p *pipeline) add(row func(scan sqlstore.Scanner) error, query string, args ...any) {
	if err := p.values.Build(p.conn.TypeMap(), nil, args); err != nil && p.err == nil {
		p.err = err
	}
	if query == p.parsed {
		p.batch.ExecPrepared("", p.values.ParamValues, p.values.ParamFormats, binaryFormat)
	} else {
		p.batch.ExecParams(query, p.values.ParamValues, nil, p.values.ParamFormats, binaryFormat)
	}
	p.parsed = query
	p.rows = append(p.rows, row)
}

// run sends the statements and returns what the last one was answered with. It can
// be run once.
func (p *pipeline) run(ctx context.Context) (last pgconn.CommandTag, err error) {
	if p.err != nil {
		return last, p.err
	}
	results := p.conn.PgConn().ExecBatch(ctx, &p.batch)
	for i := 0; err == nil && results.NextResult(); i++ {
		rows := pgx.RowsFromResultReader(p.conn.TypeMap(), results.ResultReader())
		for err == nil && rows.Next() {
			if p.rows[i] != nil {
				err = p.rows[i](rows.Scan)
			}
		}
		rows.Close()
		last = rows.CommandTag()
		if err == nil {
			err = rows.Err()
		}
	}
	if fault := results.Close(); fault != nil {
		return last, fault
	}
	return last, err
}
