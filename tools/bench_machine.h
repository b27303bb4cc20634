/* SPDX-License-Identifier: Apache-2.0
 *
 * Where and with what was measured: figures mean nothing without it.
 */
#ifndef TOOLS_BENCH_MACHINE_H
#define TOOLS_BENCH_MACHINE_H

#define BENCH_MACHINE_TEXT 128

struct bench_machine {
    char date[BENCH_MACHINE_TEXT];        /* UTC, "2026-11-23T12:00:00Z" */
    char kernel[BENCH_MACHINE_TEXT];      /* "Linux 6.18.44 x86_64" */
    char cpu[BENCH_MACHINE_TEXT];         /* what the kernel calls it; "unknown" */
    unsigned processors;                  /* that are online */
    char file_system[BENCH_MACHINE_TEXT]; /* type of that which holds the images; "unknown" */
};

/* @path: a file or directory on the file system that matters. */
void bench_machine_look(struct bench_machine *machine, const char *path);

#endif
