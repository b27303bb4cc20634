/* SPDX-License-Identifier: Apache-2.0
 *
 * See bench_machine.h. The type of a file system is asked of the table of mounts, which knows the
 * names of all of them.
 */
#include "bench_machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* "TEXT" of the first line "KEY<tabs, spaces>: TEXT" of a file. */
static void look_up(const char *file, const char *key, char out[BENCH_MACHINE_TEXT])
{
    FILE *from = fopen(file, "re");
    char line[1024];
    while (from && fgets(line, sizeof(line), from)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon)
            continue;
        const char *text = colon + 1 + strspn(colon + 1, " \t");
        snprintf(out, BENCH_MACHINE_TEXT, "%.*s", (int)strcspn(text, "\n"), text);
        break;
    }
    if (from)
        (void)fclose(from);
}

/* A line is "ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS ... - TYPE SOURCE ...". */
static void look_up_mount(unsigned long long id, char out[BENCH_MACHINE_TEXT])
{
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t room = 0;
    while (mounts && getline(&line, &room, mounts) > 0) {
        const char *type = strstr(line, " - ");
        if (strtoull(line, NULL, 10) != id || !type)
            continue;
        snprintf(out, BENCH_MACHINE_TEXT, "%.*s", (int)strcspn(type + 3, " \n"), type + 3);
        break;
    }
    free(line);
    if (mounts)
        (void)fclose(mounts);
}

static void look_at_file_system(const char *path, char out[BENCH_MACHINE_TEXT])
{
    struct statx st;
    if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st) == 0 && st.stx_mask & STATX_MNT_ID)
        look_up_mount(st.stx_mnt_id, out);
}

void bench_machine_look(struct bench_machine *machine, const char *path)
{
    struct utsname name;
    const time_t now = time(NULL);
    struct tm utc;
    *machine =
        (struct bench_machine){ .kernel = "unknown", .cpu = "unknown", .file_system = "unknown" };
    if (gmtime_r(&now, &utc))
        (void)strftime(machine->date, sizeof(machine->date), "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (uname(&name) == 0)
        snprintf(machine->kernel, sizeof(machine->kernel), "%.40s %.40s %.40s", name.sysname,
                 name.release, name.machine);
    look_up("/proc/cpuinfo", "model name", machine->cpu);
    machine->processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    look_at_file_system(path, machine->file_system);
}
