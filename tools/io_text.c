/* SPDX-License-Identifier: Apache-2.0
 *
 * How qemu-io prints sizes, times and bytes.
 */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "io.h"

const char *io_unit(double value, char buf[IO_UNIT_ROOM])
{
    static const char *const units[] = { " bytes", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB" };
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    char number[IO_UNIT_ROOM - 8];
    snprintf(number, sizeof(number), "%.3f", value);
    char *zeros = strstr(number, ".000");
    if (zeros)
        *zeros = '\0';
    snprintf(buf, IO_UNIT_ROOM, "%s%s", number, units[unit]);
    return buf;
}

static void print_machine(const struct io_report *r, double seconds)
{
    time_t whole = r->took.tv_sec;
    printf("%" PRIu64 ",1,%u:%02u:%05.2f,%.3f,%.3f\n", r->len, (unsigned)(whole / 3600),
           (unsigned)(whole / 60 % 60), (double)(whole % 60) + (double)r->took.tv_nsec / 1e9,
           (double)r->len / seconds, 1 / seconds);
}

void io_print_report(const struct io_report *r)
{
    double seconds = (double)r->took.tv_sec + (double)r->took.tv_nsec / 1e9;
    char size[IO_UNIT_ROOM], rate[IO_UNIT_ROOM];
    if (seconds <= 0)
        seconds = 1e-9;
    if (r->machine) {
        print_machine(r, seconds);
        return;
    }
    printf("%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n", r->verb, r->len, r->len,
           r->off);
    printf("%s, 1 ops; %05.2f sec (%s/sec and %.4f ops/sec)\n", io_unit((double)r->len, size),
           seconds, io_unit((double)r->len / seconds, rate), 1 / seconds);
}

void io_dump(const uint8_t *bytes, uint64_t off, size_t len)
{
    for (size_t line = 0; line < len; line += 16) {
        size_t count = len - line < 16 ? len - line : 16;
        printf("%08" PRIx64 ":  ", off + line);
        for (size_t i = 0; i < count; i++)
            printf("%02x ", bytes[line + i]);
        putchar(' ');
        for (size_t i = 0; i < count; i++)
            putchar(isalnum(bytes[line + i]) ? bytes[line + i] : '.');
        putchar('\n');
    }
}
