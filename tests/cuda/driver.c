/* A driver for CUDA where there is no card: what Taichi calls of libcuda, on the host's memory.

   Modules of PTX are handed to the command in TVVC_CUDA_TRANSLATE (translate.py), which makes a library of them, and
   kernels run as that library's functions, one thread after the other. Memory is checked as far as the host's side
   goes: copies and clearing must stay within an allocation, fresh memory is full of rubbish, and freed memory as well.

   cc -shared -fPIC -o libcuda.so driver.c -ldl */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API int
enum { SUCCESS = 0, INVALID = 1, BAD_MODULE = 218, NOT_FOUND = 500 };

static char context[8];
static void *current = context;
static struct { char *start; size_t size; } *pieces;
static size_t used, room;

static void stop(const char *what, const void *where) {
    fprintf(stderr, "CUDA driver without a card: %s at %p\n", what, where);
    abort();
}

/* The number of the allocation that holds so many bytes, or -1. */
static long holds(const char *start, size_t size) {
    for (long i = (long)used - 1; i >= 0; i--)
        if (start >= pieces[i].start && start + size <= pieces[i].start + pieces[i].size) return i;
    return -1;
}

static void check(const void *start, size_t size) {
    if (size && holds(start, size) < 0) stop("what is copied or cleared is not within one allocation", start);
}

static API take(void **result, size_t size) {
    /* As the real one's: what is large begins at a page, and Taichi counts on it. */
    size_t step = size < 65536 ? 512 : 4096;
    char *start = aligned_alloc(step, ((size ? size : 1) + step - 1) / step * step);
    if (!start) return 2;
    memset(start, 0xA5, size);
    if (used == room) pieces = realloc(pieces, (room = room ? 2 * room : 1024) * sizeof *pieces);
    pieces[used].start = start;
    pieces[used++].size = size;
    *result = start;
    return SUCCESS;
}

static API give(char *start) {
    for (size_t i = used; i-- > 0;)
        if (pieces[i].start == start) {
            memset(start, 0x5A, pieces[i].size);
            pieces[i] = pieces[--used];
            free(start);
            return SUCCESS;
        }
    stop("freed, but never allocated", start);
    return INVALID;
}

API cuInit(unsigned flags) { return SUCCESS; }
API cuDriverGetVersion(int *version) { *version = 12020; return SUCCESS; }
API cuGetErrorName(int error, const char **name) { *name = "error of the driver without a card"; return SUCCESS; }
API cuGetErrorString(int error, const char **text) { *text = "see stderr"; return SUCCESS; }
API cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
API cuDeviceGet(int *device, int number) { *device = 0; return SUCCESS; }
API cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "no card"); return SUCCESS; }
API cuDeviceGetAttribute(int *value, int attribute, int device) {
    /* Threads per block and along its axis; warp; multiprocessors, few, so that loops take turns; threads of one;
       compute capability 9.0; shared memory; memory pools. */
    static const int known[][2] = {{1, 1024}, {2, 1024}, {10, 32}, {16, 4}, {39, 2048}, {75, 9}, {76, 0}, {97, 101376},
                                   {106, 2}, {115, 1}};
    *value = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i][0] == attribute) *value = known[i][1];
    return SUCCESS;
}
API cuDeviceGetDefaultMemPool(void **pool, int device) { *pool = context; return SUCCESS; }
API cuMemPoolSetAttribute(void *pool, int attribute, void *value) { return SUCCESS; }
API cuCtxCreate_v2(void **made, unsigned flags, int device) { *made = context; return SUCCESS; }
API cuCtxSetCurrent(void *chosen) { current = chosen; return SUCCESS; }
API cuCtxGetCurrent(void **chosen) { *chosen = current; return SUCCESS; }
API cuCtxSetLimit(int limit, size_t value) { return SUCCESS; }
API cuDevicePrimaryCtxRetain(void **made, int device) { *made = context; return SUCCESS; }

API cuMemAlloc_v2(void **result, size_t size) { return take(result, size); }
API cuMemAllocAsync(void **result, size_t size, void *stream) { return take(result, size); }
API cuMemAllocManaged(void **result, size_t size, unsigned flags) { return take(result, size); }
API cuMemFree_v2(void *start) { return give(start); }
API cuMemFreeAsync(void *start, void *stream) { return give(start); }
API cuMemAllocHost_v2(void **result, size_t size) { *result = malloc(size); return SUCCESS; }
API cuMemFreeHost(void *start) { free(start); return SUCCESS; }
API cuMemPoolTrimTo(void *pool, size_t kept) { return SUCCESS; }
API cuMemAdvise(void *start, size_t size, int advice, int device) { return SUCCESS; }
API cuMemGetInfo_v2(size_t *left, size_t *all) { *left = *all = (size_t)8 << 30; return SUCCESS; }
API cuMemcpyHtoD_v2(void *to, const void *from, size_t size) {
    check(to, size);
    memcpy(to, from, size);
    return SUCCESS;
}
API cuMemcpyDtoH_v2(void *to, const void *from, size_t size) {
    check(from, size);
    memcpy(to, from, size);
    return SUCCESS;
}
API cuMemcpyDtoD_v2(void *to, const void *from, size_t size) {
    check(to, size);
    return cuMemcpyDtoH_v2(to, from, size);
}
API cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, void *s) { return cuMemcpyHtoD_v2(to, from, size); }
API cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, void *s) { return cuMemcpyDtoH_v2(to, from, size); }
API cuMemsetD8_v2(void *start, unsigned char value, size_t count) {
    check(start, count);
    memset(start, value, count);
    return SUCCESS;
}
API cuMemsetD32_v2(uint32_t *start, uint32_t value, size_t count) {
    check(start, 4 * count);
    for (size_t i = 0; i < count; i++) start[i] = value;
    return SUCCESS;
}
API cuPointerGetAttribute(uint32_t *value, int attribute, void *pointer) {
    if (holds(pointer, 1) < 0) return INVALID;
    *value = 2; /* of the device */
    return SUCCESS;
}

API cuModuleLoadDataEx(void **module, const char *ptx, unsigned count, unsigned *options, void **values) {
    const char *translate = getenv("TVVC_CUDA_TRANSLATE"), *folder = getenv("TVVC_CUDA_FOLDER");
    char source[1000], library[1000], command[4000];
    uint64_t hash = 1469598103934665603u;
    for (const char *at = ptx; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    snprintf(source, sizeof source, "%s/%016lx.ptx", folder, (unsigned long)hash);
    snprintf(library, sizeof library, "%s/%016lx.so", folder, (unsigned long)hash);
    if (access(library, R_OK)) {
        FILE *file = fopen(source, "w");
        if (!file || fputs(ptx, file) < 0 || fclose(file)) return BAD_MODULE;
        snprintf(command, sizeof command, "%s '%s' '%s'", translate, source, library);
        if (system(command)) return BAD_MODULE;
    }
    *module = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!*module) fprintf(stderr, "CUDA driver without a card: %s\n", dlerror());
    return *module ? SUCCESS : BAD_MODULE;
}
API cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = dlsym(module, name);
    return *function ? SUCCESS : NOT_FOUND;
}
API cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 32; return SUCCESS; }
API cuFuncSetAttribute(void *function, int attribute, int value) { return SUCCESS; }
API cuOccupancyMaxActiveBlocksPerMultiprocessor(int *count, void *function, int threads, size_t shared) {
    *count = 4;
    return SUCCESS;
}
API cuLaunchKernel(void *function, unsigned blocks, unsigned y, unsigned z, unsigned threads, unsigned ty, unsigned tz,
                   unsigned shared, void *stream, void **given, void **extra) {
    ((void (*)(void **, unsigned, unsigned))function)(given, blocks, threads);
    return SUCCESS;
}

API cuStreamCreate(void **stream, unsigned flags) { *stream = context; return SUCCESS; }
API cuStreamSynchronize(void *stream) { return SUCCESS; }
API cuStreamDestroy_v2(void *stream) { return SUCCESS; }
API cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return SUCCESS; }
API cuCtxSynchronize(void) { return SUCCESS; }
API cuEventCreate(void **event, unsigned flags) { *event = context; return SUCCESS; }
API cuEventDestroy(void *event) { return SUCCESS; }
API cuEventRecord(void *event, void *stream) { return SUCCESS; }
API cuEventSynchronize(void *event) { return SUCCESS; }
API cuEventElapsedTime(float *milliseconds, void *first, void *last) { *milliseconds = 0; return SUCCESS; }

/* Looked up by Taichi or its fork, never called here. */
API cuImportExternalMemory(void) { return INVALID; }
API cuExternalMemoryGetMappedBuffer(void) { return INVALID; }
API cuExternalMemoryGetMappedMipmappedArray(void) { return INVALID; }
API cuMipmappedArrayGetLevel(void) { return INVALID; }
API cuSurfObjectCreate(void) { return INVALID; }
API cuImportExternalSemaphore(void) { return INVALID; }
API cuSignalExternalSemaphoresAsync(void) { return INVALID; }
API cuWaitExternalSemaphoresAsync(void) { return INVALID; }
API cuGraphAddEmptyNode(void) { return INVALID; }
API cuGraphAddKernelNode(void) { return INVALID; }
API cuGraphAddNode(void) { return INVALID; }
API cuGraphConditionalHandleCreate(void) { return INVALID; }
API cuGraphCreate(void) { return INVALID; }
API cuGraphDestroy(void) { return INVALID; }
API cuGraphExecDestroy(void) { return INVALID; }
API cuGraphInstantiate(void) { return INVALID; }
API cuGraphLaunch(void) { return INVALID; }
API cuLinkAddData_v2(void) { return INVALID; }
API cuLinkAddFile_v2(void) { return INVALID; }
API cuLinkComplete(void) { return INVALID; }
API cuLinkCreate_v2(void) { return INVALID; }
API cuLinkDestroy(void) { return INVALID; }
API cuModuleLoadData(void) { return INVALID; }
