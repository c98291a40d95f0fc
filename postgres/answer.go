package postgres

import (
	"context"
	"database/sql"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// answer is what a query was answered with, in memory of its own.
type answer struct {
	fields []pgconn.FieldDescription
	rows   [][][]byte
	err    error
}

// ask runs a query and copies what it yields, which otherwise is the connection's.
func ask(ctx context.Context, conn *pgxpool.Conn, query string, args []any) (a answer) {
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return answer{err: err}
	}
	defer rows.Close()
	for rows.Next() {
		a.rows = append(a.rows, clone(rows.RawValues()))
	}
	a.fields, a.err = slices.Clone(rows.FieldDescriptions()), rows.Err()
	return a
}

// clone copies a row; NULL, which is nil, stays so.
func clone(values [][]byte) [][]byte {
	size := 0
	for _, value := range values {
		size += len(value)
	}
	copied, memory := make([][]byte, len(values)), make([]byte, 0, size)
	for i, value := range values {
		if value != nil {
			begin := len(memory)
			memory = append(memory, value...)
			copied[i] = memory[begin:len(memory):len(memory)]
		}
	}
	return copied
}

// scanRow is pgx.ScanRow, but for most columns of the stores: to find out how to scan
// those would take as long as a small query does.
func scanRow(types *pgtype.Map, fields []pgconn.FieldDescription, values [][]byte, dest []any) error {
	if len(fields) != len(dest) {
		return pgx.ScanRow(types, fields, values, dest...) // which says so
	}
	for i, d := range dest {
		err := scanValue(types, &fields[i], values[i], d)
		if err != nil {
			return pgx.ScanArgError{ColumnIndex: i, FieldName: fields[i].Name, Err: err}
		}
	}
	return nil
}

func scanValue(types *pgtype.Map, field *pgconn.FieldDescription, value []byte, dest any) error {
	scanner, ok := dest.(sql.Scanner)
	switch {
	case !ok:
	case value == nil:
		return scanner.Scan(nil)
	case field.DataTypeOID == pgtype.TextOID:
		return scanner.Scan(string(value))
	case field.DataTypeOID != pgtype.Int8OID:
	case field.Format == pgx.BinaryFormatCode && len(value) == 8:
		return scanner.Scan(int64(binary.BigEndian.Uint64(value)))
	case field.Format == pgx.TextFormatCode:
		if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			return scanner.Scan(n)
		}
	}
	return types.Scan(field.DataTypeOID, field.Format, value, dest)
}
