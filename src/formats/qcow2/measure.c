/* SPDX-License-Identifier: Apache-2.0
 *
 * How large a qcow2 file gets: as it would be laid out with every cluster allocated, less the
 * clusters that hold nothing. QEMU's numbers, which scripts compare byte for byte:
 *
 *     header | L2 tables, whole ones | L1 table, whole clusters | refcount table and blocks | data
 */
#include "measure_request.h"

#include <string.h>

#include "base_limits.h"
#include "qcow2.h"

static uint64_t l2_entry_bytes(const struct create_spec *spec)
{
    return spec->extended_l2 ? 16 : 8;
}

/* Clusters of refcount blocks and table that count @clusters others and themselves. */
static uint64_t refcount_clusters(uint64_t clusters, const struct create_spec *spec)
{
    const uint64_t in_block = (uint64_t)spec->cluster_size * 8 / spec->refcount_bits;
    const uint64_t in_table = spec->cluster_size / QCOW2_REFTABLE_ENTRY_BYTES;
    uint64_t blocks = 0, table = 0, before;

    do {
        before = blocks + table;
        blocks = div_up(clusters + before, in_block);
        table = div_up(blocks, in_table);
    } while (blocks + table != before);
    return before;
}

/* @disk: whole clusters. */
static uint64_t full_size(uint64_t disk, const struct create_spec *spec)
{
    const uint64_t cluster = spec->cluster_size;
    const uint64_t l2 = align_up(disk / cluster * l2_entry_bytes(spec), cluster);
    const uint64_t l1 = align_up(l2 / cluster * QCOW2_L1_ENTRY_BYTES, cluster);
    const uint64_t counted = cluster + l2 + l1 + disk;

    return counted + refcount_clusters(counted / cluster, spec) * cluster;
}

/* Every bitmap with all of its data there, its table, and the directory of all. One that is
 * inconsistent would not be copied, but QEMU counts it. */
static uint64_t bitmaps_size(const struct measure_request *request)
{
    const uint64_t cluster = request->spec->cluster_size;
    uint64_t size = 0, directory = 0;

    for (size_t i = 0; i < request->bitmap_count; i++) {
        const struct qimg_bitmap_info *b = &request->bitmap[i];
        const uint64_t bytes = div_up(div_up(request->size, b->granularity), 8);
        const uint64_t clusters = div_up(bytes, cluster);
        size += clusters * cluster + align_up(clusters * sizeof(uint64_t), cluster);
        directory += align_up(QCOW2_BITMAP_BYTES + strlen(b->name), 8);
    }
    return size + align_up(directory, cluster);
}

static int check_size(const struct create_spec *spec, struct qimg_error *err)
{
    const uint64_t cluster = spec->cluster_size;
    const uint64_t tables = div_up(div_up(spec->size, cluster), cluster / l2_entry_bytes(spec));

    if (tables <= LIMIT_QCOW2_L1_BYTES / QCOW2_L1_ENTRY_BYTES)
        return 0;
    return qimg_fail(err, EFBIG, "The image size is too large (try using a larger cluster size)");
}

int qcow2_measure(const struct measure_request *request, struct qimg_measure_result *out,
                  struct qimg_error *err)
{
    const struct create_spec *spec = request->spec;
    const uint64_t disk = align_up(request->size, spec->cluster_size);
    const bool all = spec->preallocation == PREALLOC_FULL || spec->preallocation == PREALLOC_FALLOC;

    TRY(check_size(spec, err));
    out->fully_allocated = full_size(disk, spec);
    out->required = out->fully_allocated - (all ? 0 : disk - request->used);
    out->has_bitmaps = request->bitmaps && spec->version >= 3;
    out->bitmaps = out->has_bitmaps ? bitmaps_size(request) : 0;
    return 0;
}
