/* For a fuzz target where there is no libFuzzer: runs the files it is given, and mutations of them for FUZZ_S seconds (5). With gcc:
     gcc -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -DALONE -I$INCLUDEPY -Igateway/dataplane \
       -Ibuild/c-normal/gateway/dataplane tests/checks/fuzz_http.c -o http -L$LIBDIR -Wl,-rpath,$LIBDIR -lpython$LDVERSION
     FUZZ_S=20 ./http and each file of tests/checks/seeds */
#include <stdio.h>
#include <time.h>

static uint8_t block[1 << 16];

int main(int n, char **names) {
    static uint8_t seeds[64][4096];
    static size_t sizes[64];
    static const char octets[] = "\r\n\r\n\0 \t:,;_#%05=\\\"a\x7f\xff";
    int n_seeds = 0;
    unsigned long runs = 0;
    uint64_t state = (uint64_t)time(NULL) | 1;
    time_t end = time(NULL) + (getenv("FUZZ_S") ? atoi(getenv("FUZZ_S")) : 5);
    for (int i = 1; i < n && n_seeds < 64; i++, n_seeds++) {
        FILE *file = fopen(names[i], "rb");
        if (file == NULL) { perror(names[i]); return 2; }
        sizes[n_seeds] = fread(seeds[n_seeds], 1, sizeof(seeds[0]), file);
        fclose(file);
        LLVMFuzzerTestOneInput(seeds[n_seeds], sizes[n_seeds]);
    }
    while (n_seeds && time(NULL) < end) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        int seed = (int)((state >> 33) % (unsigned)n_seeds), changes = (int)(state >> 60);
        size_t size = sizes[seed];
        memcpy(block, seeds[seed], size);
        for (; changes > 0 && size > 1; changes--) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            size_t at = (state >> 33) % size;
            if ((state >> 60) < 8) block[at] = (uint8_t)octets[(state >> 20) % (sizeof(octets) - 1)];
            else if ((state >> 60) < 11) { memmove(block + at, block + at + 1, size - at - 1); size--; }
            else if ((state >> 60) < 14) { memmove(block + at + 1, block + at, size - at); block[at] = (uint8_t)octets[(state >> 20) % (sizeof(octets) - 1)]; size++; }
            else size = at + 1;
        }
        LLVMFuzzerTestOneInput(block, size);
        runs++;
    }
    printf("%d seeds, %lu mutations\n", n_seeds, runs);
    return 0;
}
