/* Names and addresses of a cluster, computed from its compiled numbering.
 *
 * An image is a flat, immutable run of bytes, written by beonss/wire/name_image.py: tables of whole records that
 * refer to one another by index. names_open() checks every index, so that lookups need not; an image that was cut,
 * altered or written by a hostile hand is refused there, and one that passes can at worst give wrong answers, never
 * touch memory outside of it, divide by zero or run for long.
 *
 * Nothing here allocates, does I/O, keeps state or knows Python: the DNS answers (answer.c) and a module of glibc's
 * name service can share it. An open image may be read by any number of threads.
 */

#ifndef BEONSS_NAMES_H
#define BEONSS_NAMES_H

#include <stddef.h>
#include <stdint.h>

#ifndef __SIZEOF_INT128__
#error "numbers of 128 bits are needed; without them the Python code does the work"
#endif
__extension__ typedef unsigned __int128 names_number;

enum {
    NAMES_VERSION = 2,
    NAMES_LABEL = 63,     /* bytes of a label (RFC 1035 section 2.3.4) */
    NAMES_WIRE = 255,     /* bytes of a whole name, the root included */
    NAMES_SLOTS = 16,     /* coordinates of a rule, the running number among them */
    NAMES_ADDRESSES = 64, /* addresses of one name that are worth computing here */
};

/* Why an image is refused; names_fault() has the words. */
enum names_status {
    NAMES_OPEN = 0,
    NAMES_SHORT,      /* shorter than it says, or than its header */
    NAMES_FOREIGN,    /* no image, of another version or of another byte order */
    NAMES_MISALIGNED, /* not at a multiple of eight bytes */
    NAMES_BROKEN,     /* an index, a size or an order is wrong */
};

struct names_table {
    uint32_t offset; /* bytes from the beginning of the image, a multiple of 8 */
    uint32_t count;  /* records */
};

/* The sections, in the order of the header. */
enum names_section {
    NAMES_TEXT,
    NAMES_SPANS,
    NAMES_SETS,
    NAMES_DIMS,
    NAMES_BLOCKS,
    NAMES_RULES,
    NAMES_PARTS,
    NAMES_PATTERNS,
    NAMES_TERMS,
    NAMES_FORMS,
    NAMES_INTERFACES,
    NAMES_DIGITS,
    NAMES_SPANS4,
    NAMES_SPANS6,
    NAMES_SHAPE_BUCKETS,
    NAMES_SHAPES,
    NAMES_LAYOUTS,
    NAMES_CUTS,
    NAMES_GROUP_BUCKETS,
    NAMES_GROUPS,
    NAMES_FIELDS,
    NAMES_PIECES,
    NAMES_HOST_BUCKETS,
    NAMES_HOST_NAMES,
    NAMES_HOSTS,
    NAMES_HOST_ADDRESSES,
    NAMES_HOST_SPANS4,
    NAMES_HOST_SPANS6,
    NAMES_APEX_BUCKETS,
    NAMES_APEXES,
    NAMES_DEPTHS,
    NAMES_ASKED_BUCKETS,
    NAMES_ASKED,
    NAMES_ZONE,
    NAMES_SECTIONS
};

struct names_wide { /* 128 bits, for addresses and their weights */
    uint64_t high, low;
};

struct names_span { /* of a set of numbers; before: how many numbers come before it */
    uint64_t low, high, before;
};
struct names_set { /* spans ascending and apart; never empty */
    uint32_t first, count;
    uint64_t size;
};
struct names_dim { /* a coordinate of a block; stride: members from one of its values to the next */
    uint32_t set, slot;
    uint64_t stride;
};
struct names_block { /* first: index in the rule of its first member */
    uint32_t first_dim, dims;
    uint64_t first;
};
struct names_rule { /* blocks ascending by first; start: running number of the first member */
    uint32_t first_block, blocks;
    uint32_t kind, unused;
    uint64_t size, start;
};
struct names_part { /* of a name pattern. text: at, length in TEXT. field: slot, width, and what is added */
    uint32_t kind, at, length, unused;
    uint64_t offset;
};
enum { NAMES_PART_TEXT = 0, NAMES_PART_FIELD = 1 };
struct names_pattern {
    uint32_t first_part, parts;
};
struct names_term { /* of an address pattern */
    uint32_t slot, unused;
    struct names_wide weight;
};
struct names_form { /* an address pattern: base + sum of weight * value, modulo 2**128 */
    uint32_t family, first_term, terms, unused;
    struct names_wide base;
};
struct names_interface {
    uint32_t rule, pattern, first_form, forms;
};
struct names_digit { /* of an address span; low, high: of all lighter digits together */
    struct names_wide weight, low, high;
    uint32_t set, unused;
    uint64_t stride;
};
struct names_address_span { /* the addresses a form gives a block, ascending by low; reach: greatest high so far */
    struct names_wide low, high, reach, base;
    uint32_t interface, first_digit, digits, unused;
    uint64_t first;
};
struct names_shape { /* key: a label with each run of n digits as the byte 128 + n */
    uint32_t key, length, first_layout, layouts;
};
struct names_layout { /* where fields and literal digits stand */
    uint32_t first_cut, cuts;
};
struct names_cut { /* of all digits of a label put together */
    uint32_t start, end, is_field, unused;
};
struct names_group { /* the pieces of a layout with the same literal digits, all of them put together in TEXT */
    uint32_t layout, literals, length, first_piece, pieces, unused;
};
struct names_field { /* shown low..high; the coordinate's value is the shown one minus offset */
    uint64_t low, high, offset;
    uint32_t set, unused;
    uint64_t stride;
};
struct names_piece { /* ascending by low, of the first field; reach: greatest high so far */
    uint64_t low, high, reach;
    uint32_t interface, canonical, first_field, fields;
    uint64_t first;
};
struct names_host_name {
    uint32_t at, length, host, unused;
};
struct names_host {
    uint32_t at, length, first_address, addresses;
};
struct names_host_address {
    uint32_t family, unused;
    struct names_wide address;
};
struct names_host_span { /* ascending */
    struct names_wide address;
    uint32_t host, unused;
};
struct names_apex { /* a wire name in lower case; family: 4 or 6, or 0 where nothing is computed */
    uint32_t at, length, labels, family;
    uint32_t serial, flags;
};
/* What of a zone cannot be computed, because static records stand beside its computed names. */
enum {
    NAMES_ASK_APEX = 1,  /* its own name */
    NAMES_ASK_BELOW = 2, /* all names below it: a wildcard stands there */
};
struct names_asked { /* a wire name in lower case: it and whatever lies below it cannot be computed */
    uint32_t at, length;
};
struct names_zone {
    uint32_t at, length, labels;         /* the wire name of the forward zone in lower case */
    uint32_t serial, flags;              /* of the forward zone */
    uint32_t primary, primary_length;    /* first label of the primary server, none: the zone itself */
    uint32_t ttl, denial;                /* seconds */
    uint32_t refresh, retry, expire, minimum, unused;
};

/* An opened image. */
struct names_image {
    const uint8_t *text;
    const struct names_span *spans;
    const struct names_set *sets;
    const struct names_dim *dims;
    const struct names_block *blocks;
    const struct names_rule *rules;
    const struct names_part *parts;
    const struct names_pattern *patterns;
    const struct names_term *terms;
    const struct names_form *forms;
    const struct names_interface *interfaces;
    const struct names_digit *digits;
    const struct names_address_span *address_spans[2]; /* IPv4, IPv6 */
    const uint32_t *shape_buckets;
    const struct names_shape *shapes;
    const struct names_layout *layouts;
    const struct names_cut *cuts;
    const uint32_t *group_buckets;
    const struct names_group *groups;
    const struct names_field *fields;
    const struct names_piece *pieces;
    const uint32_t *host_buckets;
    const struct names_host_name *host_names;
    const struct names_host *hosts;
    const struct names_host_address *host_addresses;
    const struct names_host_span *host_spans[2]; /* IPv4, IPv6 */
    const uint32_t *apex_buckets;
    const struct names_apex *apexes;
    const uint32_t *depths; /* of the apexes in labels, descending */
    const uint32_t *asked_buckets;
    const struct names_asked *asked;
    const struct names_zone *zone;
    uint32_t counts[NAMES_SECTIONS];
};

struct names_address {
    uint32_t family; /* 4 or 6 */
    names_number number;
};

/* What a name or an address belongs to. */
struct names_found {
    uint32_t is_host;
    uint32_t host;                 /* which, where it is one */
    uint32_t interface;            /* which, where it is none */
    uint32_t canonical;            /* the name that was asked for is certainly the canonical one */
    uint64_t index;                /* in its rule */
    uint64_t values[NAMES_SLOTS];  /* of the coordinates; the running number stands first */
};

/* Check an image and point into it. bytes must stay as they are for as long as it is used. */
enum names_status names_open(struct names_image *image, const void *bytes, size_t size);

/* Return why an image was refused. */
const char *names_fault(enum names_status status);

/* Find the host or node with a short name or alias, given in lower case. Return 1 if there is one. */
int names_find(const struct names_image *image, const uint8_t *label, size_t length, struct names_found *found);

/* Find the host or node with an address. Return 1 if there is one. */
int names_find_address(const struct names_image *image, uint32_t family, names_number address,
                       struct names_found *found);

/* Say whether anything has an address from low to high. */
int names_occupied(const struct names_image *image, uint32_t family, names_number low, names_number high);

/* Write the canonical short name. Return its length, 0 if it cannot be written (never with an image of ours). */
size_t names_label(const struct names_image *image, const struct names_found *found, uint8_t label[NAMES_LABEL]);

/* Write up to NAMES_ADDRESSES addresses in the order of the description. Return how many there are. */
size_t names_addresses(const struct names_image *image, const struct names_found *found,
                       struct names_address addresses[NAMES_ADDRESSES]);

/* Find the zone, other than the forward one, with a lower-case wire name. */
const struct names_apex *names_find_apex(const struct names_image *image, const uint8_t *name, size_t length);

/* Say whether a lower-case wire name right below an apex, and what lies below it, cannot be computed. */
int names_is_asked(const struct names_image *image, const uint8_t *name, size_t length);

#endif
