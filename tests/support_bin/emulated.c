/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands for a program of another machine, so that tests run it as any other: under the emulator,
 * with the name that it was called by. scripts/test-on builds it for the machine that it runs on,
 * statically: a module in LD_PRELOAD is the other machine's, and goes through to its loader.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char *const before[] = { EMULATOR, "-L", SYSROOT, "-p", PAGE_SIZE, "-0" };
    const size_t first = sizeof(before) / sizeof(before[0]);
    char **words = calloc(first + (size_t)argc + 2, sizeof(char *));

    if (!words || argc < 1)
        return 127;
    for (size_t i = 0; i < first; i++)
        words[i] = before[i];
    words[first] = argv[0];
    words[first + 1] = PROGRAM;
    for (int i = 1; i < argc; i++)
        words[first + 1 + (size_t)i] = argv[i];
    execv(words[0], words);
    perror(words[0]);
    return 127;
}
