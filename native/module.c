/* beonss.net.dns._dns_native: names and DNS answers for Python, and a socket that is drained without it.
 *
 * Uses the stable ABI of CPython 3.11, so that one build serves all later versions. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#ifdef __linux__
#define _GNU_SOURCE /* recvmmsg, sendmmsg */
#endif

#include <Python.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "answer.h"

enum {
    BATCH = 64,          /* datagrams taken by one system call */
    LONGEST_QUERY = 4096, /* as in beonss/net/dns/udp.py */
    /* Not a power of two, or the beginnings of all buffers would compete for the same lines of the cache. */
    QUERY_STRIDE = LONGEST_QUERY + 192,
    CODES = 16,
    STREAM_ROOM = 16384, /* bytes of replies that one call for TCP gives at least, if it can */
};

union peer {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

/* What one batch needs; allocated with the object, for it is too large for a stack. */
struct batch {
    uint8_t queries[BATCH][QUERY_STRIDE];
    uint8_t replies[BATCH][ANSWER_ROOM];
    union peer peers[BATCH];
    size_t sizes[BATCH];
    socklen_t peer_sizes[BATCH];
    int asked[BATCH]; /* which datagrams Python must answer */
    size_t asks;
#ifdef __linux__
    struct iovec query_vectors[BATCH], reply_vectors[BATCH];
    struct mmsghdr incoming[BATCH], outgoing[BATCH];
#endif
};

/* Clients that names elsewhere are looked up for: those whose address has these bits under this mask. */
struct network {
    uint64_t bits[2], mask[2]; /* in the byte order of the network; of IPv4 the first four bytes */
};

/* Queries that are taken for the log, away from where they are answered: looked at after a batch was sent. */
enum {
    SAMPLES = 64,         /* held until Python takes them, after each call of drain() */
    SAMPLE_QUERY = 320,   /* bytes of a query that are kept, as in beonss/wire/query_sample.py */
    SAMPLE_REPLY = 12,    /* bytes of a reply that are kept: the header */
    MOST_EVERY = 1000000, /* as in beonss/core/zones/query_log.py */
};

struct sample {
    union peer peer;
    uint32_t reply_size;
    uint32_t took; /* microseconds, of an average query of its batch */
    uint16_t query_size;
    uint8_t query[SAMPLE_QUERY], reply[SAMPLE_REPLY];
};

struct sampling {
    uint32_t every, state, left; /* one of so many; the generator; queries until the next */
    uint32_t missed;             /* that had no room */
    size_t count;
    struct sample samples[SAMPLES];
};

enum { NETWORK_BYTES = 18 }; /* of a network in the list from Python: family, prefix length, address */

struct networks {
    struct network *first;
    size_t four, six; /* how many of IPv4, and of IPv6 behind them */
};

typedef struct {
    PyObject_HEAD
    PyObject *bytes; /* keeps the image alive */
    struct answer_zones zones;
    struct networks networks;
    struct batch *batch;
    struct sampling *sampling; /* NULL where no queries are taken */
    uint8_t stream[STREAM_ROOM + 2 + ANSWER_ROOM];
    int draining;
    unsigned long long udp, tcp, unsent, codes[CODES];
} Core;

/* What one call of drain() did, before it is told to Python. */
struct drained {
    unsigned long long answered, unsent, codes[CODES];
    int receive_error, send_error;
};

/* --- sockets ---------------------------------------------------------------------------------------------------- */

#ifdef __linux__

static int receive(struct batch *batch, int fd, int most, int *error)
{
    for (int i = 0; i < most; i++) {
        struct msghdr *header = &batch->incoming[i].msg_hdr;
        header->msg_namelen = sizeof batch->peers[i];
        header->msg_flags = 0;
    }
    int count;
    do
        count = recvmmsg(fd, batch->incoming, (unsigned)most, MSG_DONTWAIT, NULL);
    while (count < 0 && errno == EINTR);
    if (count < 0) {
        *error = errno;
        return 0;
    }
    for (int i = 0; i < count; i++) {
        batch->sizes[i] = batch->incoming[i].msg_len;
        batch->peer_sizes[i] = batch->incoming[i].msg_hdr.msg_namelen;
    }
    return count;
}

static int was_cut(const struct batch *batch, int which)
{
    return (batch->incoming[which].msg_hdr.msg_flags & MSG_TRUNC) != 0;
}

/* Note a reply to be sent. */
static void reply_to(struct batch *batch, int which, int place, size_t size)
{
    struct msghdr *header = &batch->outgoing[place].msg_hdr;
    batch->reply_vectors[place].iov_len = size;
    header->msg_name = &batch->peers[which];
    header->msg_namelen = batch->peer_sizes[which];
}

static void send_replies(struct batch *batch, int fd, int count, struct drained *drained)
{
    int sent = 0;
    while (sent < count) {
        int now = sendmmsg(fd, &batch->outgoing[sent], (unsigned)(count - sent), MSG_DONTWAIT);
        if (now >= 0) {
            sent += now;
            continue;
        }
        if (errno == EINTR)
            continue;
        /* The error belongs to the first that was left; the others have other peers. */
        drained->unsent++;
        drained->send_error = errno;
        sent++;
    }
}

static void prepare_batch(struct batch *batch)
{
    for (int i = 0; i < BATCH; i++) {
        batch->query_vectors[i].iov_base = batch->queries[i];
        batch->query_vectors[i].iov_len = LONGEST_QUERY;
        batch->incoming[i].msg_hdr.msg_iov = &batch->query_vectors[i];
        batch->incoming[i].msg_hdr.msg_iovlen = 1;
        batch->incoming[i].msg_hdr.msg_name = &batch->peers[i];
        batch->reply_vectors[i].iov_base = batch->replies[i];
        batch->outgoing[i].msg_hdr.msg_iov = &batch->reply_vectors[i];
        batch->outgoing[i].msg_hdr.msg_iovlen = 1;
    }
}

#else /* the same with what every system has */

static int receive(struct batch *batch, int fd, int most, int *error)
{
    for (int i = 0; i < most; i++) {
        socklen_t length = sizeof batch->peers[i];
        ssize_t size;
        do
            size = recvfrom(fd, batch->queries[i], LONGEST_QUERY, MSG_DONTWAIT, &batch->peers[i].any, &length);
        while (size < 0 && errno == EINTR);
        if (size < 0) {
            if (i == 0)
                *error = errno;
            return i;
        }
        batch->sizes[i] = (size_t)size;
        batch->peer_sizes[i] = length;
    }
    return most;
}

static int was_cut(const struct batch *batch, int which)
{
    return batch->sizes[which] == LONGEST_QUERY;
}

static void reply_to(struct batch *batch, int which, int place, size_t size)
{
    batch->peers[place] = batch->peers[which];
    batch->peer_sizes[place] = batch->peer_sizes[which];
    batch->sizes[place] = size;
}

static void send_replies(struct batch *batch, int fd, int count, struct drained *drained)
{
    for (int i = 0; i < count; i++)
        if (sendto(fd, batch->replies[i], batch->sizes[i], MSG_DONTWAIT, &batch->peers[i].any,
                   batch->peer_sizes[i]) < 0) {
            drained->unsent++;
            drained->send_error = errno;
        }
}

static void prepare_batch(struct batch *batch)
{
    (void)batch;
}

#endif

/* Say whether names elsewhere are looked up for a client. */
static int is_served(const struct networks *networks, const union peer *peer)
{
    uint64_t bits[2] = {0, 0};
    const struct network *network = networks->first, *end = network + networks->four;
    if (peer->any.sa_family == AF_INET) {
        memcpy(bits, &peer->four.sin_addr, 4);
    } else if (peer->any.sa_family == AF_INET6) {
        memcpy(bits, &peer->six.sin6_addr, 16);
        network = end;
        end = network + networks->six;
    } else {
        return 0;
    }
    for (; network < end; network++)
        if ((bits[0] & network->mask[0]) == network->bits[0] && (bits[1] & network->mask[1]) == network->bits[1])
            return 1;
    return 0;
}

/* Read the list of networks, IPv4 first; return 0 when it is not sound or there is no memory. */
static int read_networks(struct networks *networks, const uint8_t *bytes, size_t size)
{
    size_t count = size / NETWORK_BYTES;
    if (size % NETWORK_BYTES != 0)
        return 0;
    if (count == 0)
        return 1;
    networks->first = PyMem_Calloc(count, sizeof *networks->first);
    if (networks->first == NULL)
        return 0;
    for (size_t i = 0; i < count; i++, bytes += NETWORK_BYTES) {
        struct network *network = &networks->first[i];
        unsigned length = bytes[1];
        uint8_t mask[16] = {0};
        if ((bytes[0] != 4 && bytes[0] != 6) || length > (bytes[0] == 4 ? 32u : 128u) ||
            (bytes[0] == 4 && networks->six > 0))
            return 0;
        memset(mask, 0xFF, length / 8);
        if (length % 8 != 0)
            mask[length / 8] = (uint8_t)(0xFF00 >> length % 8);
        memcpy(network->mask, mask, sizeof mask);
        memcpy(network->bits, &bytes[2], sizeof mask);
        network->bits[0] &= network->mask[0];
        network->bits[1] &= network->mask[1];
        *(bytes[0] == 4 ? &networks->four : &networks->six) += 1;
    }
    return 1;
}

#ifdef __linux__

static uint64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* How many queries there are to the next one that is taken: Gaps of beonss/core/zones/query_log.py. */
static uint32_t next_gap(struct sampling *sampling)
{
    uint32_t state = sampling->state;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    sampling->state = state;
    return 1 + state % (2 * sampling->every - 1);
}

/* Take some of the queries of a batch that were answered here; the replies are in the order of the queries. */
static void take_samples(struct sampling *sampling, const struct batch *batch, int replies, uint64_t spent)
{
    uint32_t at = 0; /* replies that were passed */
    size_t asked = 0;
    int which = -1;
    while ((uint32_t)replies - at >= sampling->left) {
        /* The query that belongs to a reply: those that were left to Python have none. */
        for (uint32_t step = sampling->left; step > 0; step--) {
            which++;
            while (asked < batch->asks && batch->asked[asked] == which) {
                asked++;
                which++;
            }
        }
        at += sampling->left;
        sampling->left = next_gap(sampling);
        if (sampling->count == SAMPLES) {
            sampling->missed++;
            continue;
        }
        struct sample *sample = &sampling->samples[sampling->count++];
        size_t size = batch->sizes[which];
        sample->peer = batch->peers[which];
        sample->query_size = (uint16_t)(size < SAMPLE_QUERY ? size : SAMPLE_QUERY);
        memcpy(sample->query, batch->queries[which], sample->query_size);
        memcpy(sample->reply, batch->replies[at - 1], SAMPLE_REPLY);
        sample->reply_size = (uint32_t)batch->reply_vectors[at - 1].iov_len;
        sample->took = (uint32_t)(spent / 1000u / (unsigned)replies);
    }
    sampling->left -= (uint32_t)replies - at;
}

#endif

/* Answer what is there until the budget is spent, the socket is empty, or Python must answer something. */
static void drain(const struct answer_zones *zones, const struct networks *networks, struct batch *batch, int fd,
                  int budget, struct sampling *sampling, struct drained *drained)
{
    int some = networks->first != NULL;
    batch->asks = 0;
    while (budget > 0 && batch->asks == 0) {
        int most = budget < BATCH ? budget : BATCH, replies = 0;
        int count = receive(batch, fd, most, &drained->receive_error);
#ifdef __linux__
        uint64_t since = sampling != NULL ? nanoseconds() : 0;
#else
        (void)sampling;
#endif
        for (int i = 0; i < count; i++) {
            uint8_t *reply = batch->replies[replies];
            size_t size = 0;
#ifndef __linux__
            /* What Python must answer keeps its peer: replies may not take its place. */
            if (batch->asks > 0)
                batch->asked[batch->asks++] = i;
            else
#endif
            if (was_cut(batch, i) ||
                (size = answer_query(zones, batch->queries[i], batch->sizes[i], 0,
                                     some && is_served(networks, &batch->peers[i]), reply)) == 0)
                batch->asked[batch->asks++] = i;
            if (size == 0)
                continue;
            drained->codes[reply[3] & 15]++;
            reply_to(batch, i, replies++, size);
        }
        send_replies(batch, fd, replies, drained);
#ifdef __linux__
        if (sampling != NULL && replies > 0)
            take_samples(sampling, batch, replies, nanoseconds() - since);
#endif
        drained->answered += (unsigned)replies;
        budget -= count;
        /* While these were answered others may have come; looking again costs less than a turn of the reactor. */
        if (count == 0)
            return;
    }
}

/* --- the object ------------------------------------------------------------------------------------------------- */

static PyObject *core_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"image", "identity", "networks", NULL};
    PyObject *bytes;
    const char *identity = "", *networks = "";
    Py_ssize_t length = 0, networks_size = 0;
    char *content;
    Py_ssize_t size;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "S|y#y#:Core", names, &bytes, &identity, &length, &networks,
                                     &networks_size))
        return NULL;
    if (length > ANSWER_IDENTITY) {
        PyErr_Format(PyExc_ValueError, "an identity has at most %d bytes", ANSWER_IDENTITY);
        return NULL;
    }
    if (PyBytes_AsStringAndSize(bytes, &content, &size) < 0)
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Core *self = (Core *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(bytes);
    self->bytes = bytes;
    memcpy(self->zones.identity, identity, (size_t)length);
    self->zones.identity_length = (size_t)length;
    enum names_status status = names_open(&self->zones.image, content, (size_t)size);
    if (status != NAMES_OPEN) {
        PyErr_Format(PyExc_ValueError, "the image of names cannot be used: %s", names_fault(status));
        Py_DECREF(self);
        return NULL;
    }
    if (!read_networks(&self->networks, (const uint8_t *)networks, (size_t)networks_size)) {
        PyErr_SetString(PyExc_ValueError, "the list of networks cannot be used");
        Py_DECREF(self);
        return NULL;
    }
    self->batch = PyMem_Calloc(1, sizeof *self->batch);
    if (self->batch == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    prepare_batch(self->batch);
    return (PyObject *)self;
}

static void core_dealloc(PyObject *object)
{
    Core *self = (Core *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    PyMem_Free(self->batch);
    PyMem_Free(self->sampling);
    PyMem_Free(self->networks.first);
    Py_XDECREF(self->bytes);
    release(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(answer_doc, "answer(packet, tcp=False, recursion=False, /)\n--\n\n"
                         "Return the reply to a query, None where Python must answer.\n\n"
                         "recursion: names elsewhere are looked up for this client.");

static PyObject *core_answer(Core *self, PyObject *arguments)
{
    const char *packet;
    Py_ssize_t size;
    int tcp = 0, recursion = 0;
    uint8_t reply[ANSWER_ROOM];

    if (!PyArg_ParseTuple(arguments, "y#|pp:answer", &packet, &size, &tcp, &recursion))
        return NULL;
    size_t length = answer_query(&self->zones, (const uint8_t *)packet, (size_t)size, tcp, recursion, reply);
    if (length == 0)
        Py_RETURN_NONE;
    self->codes[reply[3] & 15]++;
    if (tcp)
        self->tcp++;
    else
        self->udp++;
    return PyBytes_FromStringAndSize((const char *)reply, (Py_ssize_t)length);
}

PyDoc_STRVAR(answer_stream_doc,
             "answer_stream(data, start, recursion=False, /)\n--\n\n"
             "Answer the messages of a TCP stream, each behind its length, from offset ``start``; see answer().\n\n"
             "Returns (bytes taken, replies with their lengths). It stops before a message that is not complete, one\n"
             "that Python must answer, and after 16 KB of replies.");

static PyObject *core_answer_stream(Core *self, PyObject *arguments)
{
    Py_buffer data;
    Py_ssize_t start;
    int recursion = 0;

    if (!PyArg_ParseTuple(arguments, "y*n|p:answer_stream", &data, &start, &recursion))
        return NULL;
    const uint8_t *bytes = data.buf;
    size_t size = (size_t)data.len, from = start < 0 ? 0 : (size_t)start, at = from, written = 0;
    uint8_t *target = self->stream;
    while (at + 2 <= size && written < STREAM_ROOM) {
        size_t length = (size_t)bytes[at] << 8 | bytes[at + 1];
        if (length > size - at - 2)
            break;
        uint8_t *reply = &target[written + 2];
        size_t replied = answer_query(&self->zones, &bytes[at + 2], length, 1, recursion, reply);
        if (replied == 0)
            break;
        target[written] = (uint8_t)(replied >> 8);
        target[written + 1] = (uint8_t)replied;
        self->codes[reply[3] & 15]++;
        self->tcp++;
        written += replied + 2;
        at += length + 2;
    }
    PyBuffer_Release(&data);
    return Py_BuildValue("(ny#)", (Py_ssize_t)(at < from ? 0 : at - from), (const char *)target, (Py_ssize_t)written);
}

/* Return a peer as Python's own sockets do, but for the text of a scope: its number says the same. */
static PyObject *peer_tuple(const union peer *peer)
{
    char host[INET6_ADDRSTRLEN];
    if (peer->any.sa_family == AF_INET6) {
        if (inet_ntop(AF_INET6, &peer->six.sin6_addr, host, sizeof host) == NULL)
            return PyErr_SetFromErrno(PyExc_OSError);
        return Py_BuildValue("(siII)", host, (int)ntohs(peer->six.sin6_port),
                             (unsigned)ntohl(peer->six.sin6_flowinfo), (unsigned)peer->six.sin6_scope_id);
    }
    if (inet_ntop(AF_INET, &peer->four.sin_addr, host, sizeof host) == NULL)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(si)", host, (int)ntohs(peer->four.sin_port));
}

static PyObject *asked_list(const struct batch *batch)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < batch->asks; i++) {
        int which = batch->asked[i];
        PyObject *peer = peer_tuple(&batch->peers[which]), *item = NULL;
        if (peer != NULL)
            item = Py_BuildValue("(y#N)", (const char *)batch->queries[which], (Py_ssize_t)batch->sizes[which], peer);
        if (item == NULL || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

PyDoc_STRVAR(drain_doc,
             "drain(fd, budget, /)\n--\n\n"
             "Answer the datagrams that wait at a socket, at most ``budget``; never waits for any.\n\n"
             "Returns ([(packet, peer), ...] for Python to answer, errno of a reply that was not sent or 0).\n"
             "Raises OSError when nothing can be received.");

static PyObject *core_drain(Core *self, PyObject *arguments)
{
    int fd, budget;
    struct drained drained = {0};

    if (!PyArg_ParseTuple(arguments, "ii:drain", &fd, &budget))
        return NULL;
    if (self->draining) {
        PyErr_SetString(PyExc_RuntimeError, "another thread drains a socket with this core");
        return NULL;
    }
    self->draining = 1;
    Py_BEGIN_ALLOW_THREADS
    drain(&self->zones, &self->networks, self->batch, fd, budget, self->sampling, &drained);
    Py_END_ALLOW_THREADS
    self->udp += drained.answered;
    self->unsent += drained.unsent;
    for (int i = 0; i < CODES; i++)
        self->codes[i] += drained.codes[i];
    PyObject *result = NULL;
    if (drained.receive_error != 0 && drained.receive_error != EAGAIN && drained.receive_error != EWOULDBLOCK) {
        errno = drained.receive_error;
        PyErr_SetFromErrno(PyExc_OSError);
    } else {
        PyObject *asked = asked_list(self->batch);
        if (asked != NULL)
            result = Py_BuildValue("(Ni)", asked, drained.send_error);
    }
    self->draining = 0;
    return result;
}

PyDoc_STRVAR(sample_doc,
             "sample(every, seed=1, /)\n--\n\n"
             "Take one of ``every`` queries that drain() answers for samples(); 0 takes none any more.\n\n"
             "Returns whether this system can.");

static PyObject *core_sample(Core *self, PyObject *arguments)
{
    long long every;
    unsigned seed = 1; /* of a longer one the last bits */

    if (!PyArg_ParseTuple(arguments, "L|I:sample", &every, &seed))
        return NULL;
    if (every < 0 || every > MOST_EVERY) {
        PyErr_Format(PyExc_ValueError, "one of at most %d queries can be taken", MOST_EVERY);
        return NULL;
    }
    if (self->draining) {
        PyErr_SetString(PyExc_RuntimeError, "another thread drains a socket with this core");
        return NULL;
    }
    PyMem_Free(self->sampling);
    self->sampling = NULL;
#ifdef __linux__
    if (every != 0) {
        self->sampling = PyMem_Calloc(1, sizeof *self->sampling);
        if (self->sampling == NULL)
            return PyErr_NoMemory();
        self->sampling->every = (uint32_t)every;
        self->sampling->state = seed != 0 ? seed : 1;
        self->sampling->left = next_gap(self->sampling);
    }
    Py_RETURN_TRUE;
#else
    (void)seed;
    return PyBool_FromLong(every == 0);
#endif
}

PyDoc_STRVAR(samples_doc,
             "samples()\n--\n\n"
             "Return ([(query, peer, beginning of the reply, bytes of the reply, microseconds), ...], how many more had\n"
             "no room) of what was taken since the last call.");

static PyObject *core_samples(Core *self, PyObject *unused)
{
    (void)unused;
    struct sampling *sampling = self->sampling;
    PyObject *list = PyList_New(0);
    unsigned missed = 0;

    if (sampling != NULL && !self->draining) {
        for (size_t i = 0; list != NULL && i < sampling->count; i++) {
            const struct sample *sample = &sampling->samples[i];
            PyObject *peer = peer_tuple(&sample->peer), *item = NULL;
            if (peer != NULL)
                item = Py_BuildValue("(y#Ny#II)", (const char *)sample->query, (Py_ssize_t)sample->query_size, peer,
                                     (const char *)sample->reply, (Py_ssize_t)SAMPLE_REPLY, sample->reply_size,
                                     sample->took);
            if (item == NULL || PyList_Append(list, item) < 0)
                Py_CLEAR(list);
            Py_XDECREF(item);
        }
        missed = sampling->missed;
        sampling->missed = 0;
        sampling->count = 0;
    }
    return list == NULL ? NULL : Py_BuildValue("(NI)", list, missed);
}

PyDoc_STRVAR(counts_doc, "counts()\n--\n\nReturn (answered over UDP, over TCP, not sent, (replies by RCODE)).");

static PyObject *core_counts(Core *self, PyObject *unused)
{
    (void)unused;
    PyObject *codes = PyTuple_New(CODES);
    for (int i = 0; codes != NULL && i < CODES; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(self->codes[i]);
        if (number == NULL || PyTuple_SetItem(codes, i, number) < 0)
            Py_CLEAR(codes);
    }
    return codes == NULL ? NULL : Py_BuildValue("(KKKN)", self->udp, self->tcp, self->unsent, codes);
}

/* --- names without DNS: what the node's name service asks ------------------------------------------------------- */

static PyObject *found_value(const struct names_image *image, const struct names_found *found)
{
    struct names_address addresses[NAMES_ADDRESSES];
    uint8_t label[NAMES_LABEL];
    size_t length = names_label(image, found, label), count = names_addresses(image, found, addresses);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < count; i++) {
        uint8_t packed[16];
        size_t size = addresses[i].family == 4 ? 4 : 16;
        for (size_t j = 0; j < size; j++)
            packed[j] = (uint8_t)(addresses[i].number >> (8 * (size - 1 - j)));
        PyObject *item = PyBytes_FromStringAndSize((const char *)packed, (Py_ssize_t)size);
        if (item == NULL || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list == NULL ? NULL : Py_BuildValue("(y#N)", (const char *)label, (Py_ssize_t)length, list);
}

PyDoc_STRVAR(find_doc, "find(label, /)\n--\n\n"
                       "Return (canonical name, [packed addresses]) of a lower-case short name, or None.");

static PyObject *core_find(Core *self, PyObject *arguments)
{
    const char *label;
    Py_ssize_t size;
    struct names_found found;
    if (!PyArg_ParseTuple(arguments, "y#:find", &label, &size))
        return NULL;
    if (!names_find(&self->zones.image, (const uint8_t *)label, (size_t)size, &found))
        Py_RETURN_NONE;
    return found_value(&self->zones.image, &found);
}

PyDoc_STRVAR(find_address_doc, "find_address(packed, /)\n--\n\n"
                               "Return (canonical name, [packed addresses]) of what has an address, or None.");

static PyObject *core_find_address(Core *self, PyObject *arguments)
{
    const char *packed;
    Py_ssize_t size;
    struct names_found found;
    names_number number = 0;
    if (!PyArg_ParseTuple(arguments, "y#:find_address", &packed, &size))
        return NULL;
    if (size != 4 && size != 16) {
        PyErr_SetString(PyExc_ValueError, "a packed address has 4 or 16 bytes");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < size; i++)
        number = number << 8 | (uint8_t)packed[i];
    if (!names_find_address(&self->zones.image, size == 4 ? 4 : 6, number, &found))
        Py_RETURN_NONE;
    return found_value(&self->zones.image, &found);
}

static PyMethodDef core_methods[] = {
    {"answer", (PyCFunction)core_answer, METH_VARARGS, answer_doc},
    {"answer_stream", (PyCFunction)core_answer_stream, METH_VARARGS, answer_stream_doc},
    {"drain", (PyCFunction)core_drain, METH_VARARGS, drain_doc},
    {"sample", (PyCFunction)core_sample, METH_VARARGS, sample_doc},
    {"samples", (PyCFunction)core_samples, METH_NOARGS, samples_doc},
    {"counts", (PyCFunction)core_counts, METH_NOARGS, counts_doc},
    {"find", (PyCFunction)core_find, METH_VARARGS, find_doc},
    {"find_address", (PyCFunction)core_find_address, METH_VARARGS, find_address_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(core_doc, "Core(image, identity=b'', networks=b'')\n--\n\n"
                       "Names and plain DNS answers out of an image (beonss.wire.name_image).\n\n"
                       "networks: clients that drain() has names elsewhere looked up for, 18 bytes each, IPv4 before\n"
                       "IPv6: family (4 or 6), prefix length, address with zeros behind.\n\n"
                       "Raises ValueError when the image or the list is not sound.");

static PyType_Slot core_slots[] = {
    {Py_tp_new, core_new},
    {Py_tp_dealloc, core_dealloc},
    {Py_tp_methods, core_methods},
    {Py_tp_doc, (void *)core_doc},
    {0, NULL},
};

static PyType_Spec core_spec = {
    .name = "beonss.net.dns._dns_native.Core",
    .basicsize = sizeof(Core),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = core_slots,
};

static int module_exec(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&core_spec);
    if (type == NULL)
        return -1;
    int added = PyModule_AddObjectRef(module, "Core", type);
    Py_DECREF(type);
    if (added < 0 || PyModule_AddIntConstant(module, "VERSION", NAMES_VERSION) < 0)
        return -1;
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_dns_native",
    .m_doc = "Names and DNS answers, compiled; see native/names.h and native/answer.h.",
    .m_size = 0,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__dns_native(void)
{
    return PyModuleDef_Init(&module);
}
