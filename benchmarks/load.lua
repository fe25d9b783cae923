-- wrk -s load.lua URL -- METHOD SIZE PREFIX KEYS [DIRECTORY]
-- GET reads the KEYS blobs PREFIX0, PREFIX1..., scattered. PUT and POST write KEYS blobs in turn or,
-- if it is 0, names that nobody used. With a DIRECTORY the file NAME below it is synced after each
-- answer, and the next request waits for that: for a server that does not sync.
local threads = {}
local method, prefix, keys, directory, number = "GET", "", 1, nil, 0
local tail, last, began
local ffi, C

function setup(thread)
    thread:set("id", #threads)
    table.insert(threads, thread)
end

local function now()
    local time = ffi.new("struct timespec")
    C.clock_gettime(1, time)
    return tonumber(time.seconds) * 1e6 + tonumber(time.nanoseconds) / 1e3
end

local function sync(status)
    local fd = C.open(directory .. last, 0)
    if fd < 0 or C.fsync(fd) ~= 0 then failed = failed + 1 end
    if fd >= 0 then C.close(fd) end
    times[#times + 1] = now() - began
end

function init(args)
    method, prefix, keys, directory = args[1], args[3], tonumber(args[4]), args[5]
    -- Each body is another one.
    if method ~= "GET" then tail = string.rep("x", tonumber(args[2]) - 16) end
    if directory then
        times, failed = {}, 0
        ffi = require("ffi")
        ffi.cdef[[
            struct timespec { long seconds; long nanoseconds; };
            int clock_gettime(int clock, struct timespec *time);
            int open(const char *path, int flags, ...);
            int fsync(int fd);
            int close(int fd);
        ]]
        C = ffi.C
        response = sync
    end
end

function request()
    number = number + 1
    if keys > 0 then
        -- A prime that divides no count in use: all of them in turn, neighbours far apart.
        last = prefix .. (number + 16 * id) * 7919 % keys
    else
        last = prefix .. id .. "-" .. number
    end
    if method == "GET" then return wrk.format("GET", "/store/" .. last) end
    if directory then began = now() end
    return wrk.format(method, "/store/" .. last, nil, string.format("%016d", number) .. tail)
end

function done(summary, latency, requests)
    local e = summary.errors
    local bad = e.connect + e.read + e.write + e.status + e.timeout
    local all = {}
    for _, thread in ipairs(threads) do
        bad = bad + (thread:get("failed") or 0)
        for _, time in ipairs(thread:get("times") or {}) do all[#all + 1] = time end
    end
    table.sort(all)
    local function percentile(p)
        if #all == 0 then return latency:percentile(p) end
        return all[math.ceil(#all * p / 100)]
    end
    io.write(string.format("RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration,
        percentile(50), percentile(99), percentile(99.9), bad))
end
