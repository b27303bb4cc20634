/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that any file's O_DIRECT takes.
 */
#include "io.h"

#include <stdlib.h>

#include "bits.h"

/* The greatest block size that Linux asks memory to be aligned to, on all but exotic devices. */
#define BUFFER_ALIGN 4096

void *io_buffer_new(size_t len)
{
    void *memory = NULL;

    if (len > SIZE_MAX - BUFFER_ALIGN)
        return NULL;
    const size_t whole = (size_t)align_up(max_u64(len, 1), BUFFER_ALIGN);
    return posix_memalign(&memory, BUFFER_ALIGN, whole) == 0 ? memory : NULL;
}
