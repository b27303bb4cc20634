/* SPDX-License-Identifier: Apache-2.0
 *
 * What `info` prints. The parts that QEMU prints from one description (limits, format-specific
 * data) are written once, for both outputs; the node itself has its own lines in each. Members
 * stand in the order of QEMU's JSON.
 */
#include "info_print.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "text.h"

#define NSEC_PER_SEC UINT64_C(1000000000)

#define LIMIT(key, member) \
    { \
        key, offsetof(struct qimg_limits, member) \
    }

static const struct out_field limit_fields[] = {
    LIMIT("write-zeroes-alignment", write_zeroes_alignment),
    LIMIT("request-alignment", request_alignment),
    LIMIT("min-mem-alignment", min_mem_alignment),
    LIMIT("max-transfer", max_transfer),
    LIMIT("max-hw-transfer", max_hw_transfer),
    LIMIT("discard-alignment", discard_alignment),
    LIMIT("opt-mem-alignment", opt_mem_alignment),
    LIMIT("max-iov", max_iov),
    LIMIT("max-hw-iov", max_hw_iov),
    { NULL, 0 },
};

/* --- format-specific data, for both outputs ------------------------------------------------ */

static void print_bitmaps(struct out *out, const struct qimg_qcow2_info *qcow2)
{
    if (qcow2->bitmap_count == 0)
        return;
    out_list(out, "bitmaps");
    for (size_t i = 0; i < qcow2->bitmap_count; i++) {
        const struct qimg_bitmap_info *bitmap = &qcow2->bitmaps[i];
        out_object(out, NULL);
        out_list(out, "flags");
        if (bitmap->in_use)
            out_text(out, NULL, "in-use");
        if (bitmap->enabled)
            out_text(out, NULL, "auto");
        out_close(out);
        out_text(out, "name", bitmap->name);
        out_number(out, "granularity", bitmap->granularity);
        out_close(out);
    }
    out_close(out);
}

static void print_luks_slots(struct out *out, const struct qimg_luks_info *luks)
{
    out_list(out, "slots");
    for (size_t i = 0; i < sizeof(luks->slots) / sizeof(luks->slots[0]); i++) {
        const struct qimg_luks_slot *slot = &luks->slots[i];
        out_object(out, NULL);
        out_flag(out, "active", slot->active);
        if (slot->active)
            out_number(out, "iters", slot->iters);
        out_number(out, "key-offset", slot->key_offset);
        if (slot->active)
            out_number(out, "stripes", slot->stripes);
        out_close(out);
    }
    out_close(out);
}

static void print_encryption(struct out *out, const struct qimg_qcow2_info *qcow2)
{
    const struct qimg_luks_info *luks = qcow2->luks;
    if (qcow2->encryption == QIMG_ENCRYPTION_NONE)
        return;
    out_object(out, "encrypt");
    if (luks) {
        out_text(out, "ivgen-alg", luks->ivgen_alg);
        out_flag(out, "detached-header", false);
        out_text(out, "hash-alg", luks->hash_alg);
        out_text(out, "cipher-alg", luks->cipher_alg);
        out_text(out, "uuid", luks->uuid);
        out_text(out, "ivgen-hash-alg", luks->ivgen_hash_alg);
    }
    out_text(out, "format", qcow2->encryption == QIMG_ENCRYPTION_AES ? "aes" : "luks");
    if (luks) {
        out_text(out, "cipher-mode", luks->cipher_mode);
        print_luks_slots(out, luks);
        out_number(out, "payload-offset", luks->payload_offset);
        out_number(out, "master-key-iters", luks->master_key_iters);
    }
    out_close(out);
}

static void print_qcow2(struct out *out, const struct qimg_qcow2_info *qcow2)
{
    bool v3 = qcow2->version >= 3;
    out_text(out, "compat", v3 ? "1.1" : "0.10");
    out_text(out, "compression-type", qcow2->compression_type);
    if (v3)
        out_flag(out, "lazy-refcounts", qcow2->lazy_refcounts);
    print_bitmaps(out, qcow2);
    out_number(out, "refcount-bits", qcow2->refcount_bits);
    if (v3 && qcow2->has_data_file)
        out_text(out, "data-file", qcow2->data_file);
    print_encryption(out, qcow2);
    if (v3 && qcow2->has_data_file)
        out_flag(out, "data-file-raw", qcow2->data_file_raw);
    if (v3) {
        out_flag(out, "corrupt", qcow2->corrupt);
        out_flag(out, "extended-l2", qcow2->extended_l2);
    }
}

/* --- JSON --------------------------------------------------------------------------------- */

static void json_snapshots(struct out *out, const struct qimg_info *info)
{
    if (info->snapshot_count == 0)
        return;
    out_list(out, "snapshots");
    for (size_t i = 0; i < info->snapshot_count; i++) {
        const struct qimg_snapshot_info *snapshot = &info->snapshots[i];
        out_object(out, NULL);
        if (snapshot->icount != UINT64_MAX)
            out_number(out, "icount", snapshot->icount);
        out_number(out, "vm-clock-nsec", snapshot->vm_clock_nsec % NSEC_PER_SEC);
        out_text(out, "name", snapshot->name);
        out_signed(out, "date-sec", snapshot->date_sec);
        out_number(out, "date-nsec", snapshot->date_nsec);
        out_number(out, "vm-clock-sec", snapshot->vm_clock_nsec / NSEC_PER_SEC);
        out_text(out, "id", snapshot->id);
        out_number(out, "vm-state-size", snapshot->vm_state_size);
        out_close(out);
    }
    out_close(out);
}

static void json_specific(struct out *out, const struct qimg_info *info)
{
    bool file = strcmp(info->format, "file") == 0;
    if (!info->qcow2 && !file)
        return;
    out_object(out, "format-specific");
    out_text(out, "type", info->format);
    out_object(out, "data");
    if (info->qcow2)
        print_qcow2(out, info->qcow2);
    out_close(out);
    out_close(out);
}

static void json_children(struct out *out, const struct qimg_info *info, bool limits)
{
    out_list(out, "children");
    if (info->child) {
        out_object(out, NULL);
        out_text(out, "name", "file");
        info_print_json(out, "info", info->child, limits);
        out_close(out);
    }
    out_close(out);
}

void info_print_json(struct out *out, const char *key, const struct qimg_info *info, bool limits)
{
    out_object(out, key);
    if (limits) {
        out_object(out, "limits");
        out_fields(out, limit_fields, &info->limits);
        out_close(out);
    }
    json_children(out, info, limits);
    out_text(out, "backing-filename-format", info->backing_filename_format);
    json_snapshots(out, info);
    out_number(out, "virtual-size", info->virtual_size);
    out_text(out, "filename", info->filename);
    if (info->cluster_size)
        out_number(out, "cluster-size", info->cluster_size);
    out_text(out, "format", info->format);
    if (info->has_actual_size)
        out_number(out, "actual-size", info->actual_size);
    json_specific(out, info);
    out_text(out, "full-backing-filename", info->full_backing_filename);
    if (info->encrypted)
        out_flag(out, "encrypted", true);
    out_text(out, "backing-filename", info->backing_filename);
    if (info->has_dirty_flag)
        out_flag(out, "dirty-flag", info->dirty_flag);
    out_close(out);
}

/* --- for people --------------------------------------------------------------------------- */

static void print_line(FILE *file, unsigned indent, const char *key, const char *value)
{
    fprintf(file, "%*s%s: ", (int)(4 * indent), "", key);
    text_show(file, value);
    putc('\n', file);
}

static void human_sizes(FILE *file, const struct qimg_info *info, unsigned indent, bool protocol)
{
    char size[TEXT_SIZE_ROOM], disk[TEXT_SIZE_ROOM];
    fprintf(file, "%*s%s: %s (%" PRIu64 " bytes)\n", (int)(4 * indent), "",
            protocol ? "file length" : "virtual size", text_size(info->virtual_size, size),
            info->virtual_size);
    print_line(file, indent, "disk size",
               info->has_actual_size ? text_size(info->actual_size, disk) : "unavailable");
}

static void human_backing(FILE *file, const struct qimg_info *info, unsigned indent)
{
    const char *full = info->full_backing_filename;
    if (!info->backing_filename)
        return;
    fprintf(file, "%*sbacking file: ", (int)(4 * indent), "");
    text_show(file, info->backing_filename);
    if (!full) {
        fputs(" (cannot determine actual path)", file);
    } else if (strcmp(full, info->backing_filename) != 0) {
        fputs(" (actual path: ", file);
        text_show(file, full);
        putc(')', file);
    }
    putc('\n', file);
    if (info->backing_filename_format)
        print_line(file, indent, "backing file format", info->backing_filename_format);
}

static void human_snapshot(FILE *file, const struct qimg_snapshot_info *snapshot)
{
    char size[TEXT_SIZE_ROOM], date[64] = "", clock[64], icount[24] = "--";
    time_t when = (time_t)snapshot->date_sec;
    struct tm local;
    uint64_t seconds = snapshot->vm_clock_nsec / NSEC_PER_SEC;
    if (localtime_r(&when, &local))
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &local);
    snprintf(clock, sizeof(clock), "%04" PRIu64 ":%02u:%02u.%03u", seconds / 3600,
             (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60),
             (unsigned)(snapshot->vm_clock_nsec / 1000000 % 1000));
    if (snapshot->icount != UINT64_MAX)
        snprintf(icount, sizeof(icount), "%" PRIu64, snapshot->icount);
    text_show_padded(file, snapshot->id, 7);
    putc(' ', file);
    text_show_padded(file, snapshot->name, 16);
    fprintf(file, " %8s %19s %15s %10s\n", text_size(snapshot->vm_state_size, size), date, clock,
            icount);
}

static void human_snapshots(FILE *file, const struct qimg_info *info, unsigned indent)
{
    int margin = (int)(4 * indent);
    if (info->snapshot_count == 0)
        return;
    fprintf(file, "%*sSnapshot list:\n%*s", margin, "", margin, "");
    fprintf(file, "%-7s %-16s %8s %19s %15s %10s\n", "ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK",
            "ICOUNT");
    for (size_t i = 0; i < info->snapshot_count; i++) {
        fprintf(file, "%*s", margin, "");
        human_snapshot(file, &info->snapshots[i]);
    }
}

static void human_limits(FILE *file, const struct qimg_info *info, unsigned indent)
{
    struct out out = out_human(file, indent + 1);
    if (out_fields(NULL, limit_fields, &info->limits) == 0)
        return;
    fprintf(file, "%*sBlock limits:\n", (int)(4 * indent), "");
    out_object(&out, NULL);
    out_fields(&out, limit_fields, &info->limits);
    out_close(&out);
}

void info_print_specific(FILE *file, const struct qimg_info *info, unsigned indent)
{
    struct out out = out_human(file, indent + 1);
    if (!info->qcow2)
        return;
    fprintf(file, "%*sFormat specific information:\n", (int)(4 * indent), "");
    out_object(&out, NULL);
    print_qcow2(&out, info->qcow2);
    out_close(&out);
}

static void human_node(FILE *file, const struct qimg_info *info, unsigned indent, bool limits)
{
    bool protocol = indent > 0;
    print_line(file, indent, protocol ? "filename" : "image", info->filename);
    print_line(file, indent, protocol ? "protocol type" : "file format", info->format);
    human_sizes(file, info, indent, protocol);
    if (info->encrypted)
        print_line(file, indent, "encrypted", "yes");
    if (info->cluster_size)
        fprintf(file, "%*scluster_size: %" PRIu32 "\n", (int)(4 * indent), "", info->cluster_size);
    if (info->has_dirty_flag && info->dirty_flag)
        print_line(file, indent, "cleanly shut down", "no");
    human_backing(file, info, indent);
    if (limits)
        human_limits(file, info, indent);
    human_snapshots(file, info, indent);
    info_print_specific(file, info, indent);
}

void info_print_snapshots(FILE *file, const struct qimg_info *info)
{
    human_snapshots(file, info, 0);
}

void info_print_human(FILE *file, const struct qimg_info *info, bool limits)
{
    human_node(file, info, 0, limits);
    if (info->child) {
        fprintf(file, "Child node '/file':\n");
        human_node(file, info->child, 1, limits);
    }
}
