/*
 * config_rows_make: words that rows are written with; for config_rows*.c only.
 */
#ifndef WEIR_CONFIG_ROWS_MAKE_H
#define WEIR_CONFIG_ROWS_MAKE_H

#define MEMBER(type, member) \
    .offset = offsetof(struct type, member), .member_bytes = sizeof(((struct type *)0)->member)
#define LENGTH_AT(type, member) .count_offset = offsetof(struct type, member)
#define SECTION(type, rows_) .rows = (rows_), .row_count = ARRAY_LENGTH(rows_), .bytes = sizeof(struct type)

#define SECOND_MS 1000ull
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

#endif
