-- Spends for a batch of checks: each all or nothing by itself, in order.
--
-- KEYS      the buckets of every entry, one after the other; a bucket may be named often. A value is 16 bytes:
--           debt (tokens), time (microseconds of this server), two little-endian doubles. No value: a full
--           bucket.
-- ARGV[1]   little-endian doubles, one after the other:
--             number of floors; for each: index of its key from 1, debt (tokens) that it has at least
--             then for each entry, to the end: how many checks ask for the same; number of buckets; and for
--             each bucket, in the order of KEYS: rate (tokens/s), burst (tokens), cost (tokens)
-- Returns   integers, for each entry: how many of its checks passed, -1 where a bucket cannot be read; and
--           for each bucket: its debt now, in 2^-20 tokens, rounded up; -1 for one that cannot be read.
--
-- Arithmetic: authz/limits/bucket.py, the same operations in the same order.

local QUANTA = 1048576
local MOST = 4398046511104        -- tokens, 2^42: in quanta still an integer of a reply; no burst is as large
local LONGEST = 1000000000000000  -- ms, 30,000 years: PX refuses a little more

local unpacked, packed, ceil = struct.unpack, struct.pack, math.ceil
local call, try = redis.call, redis.pcall
local time = call('TIME')
local now = time[1] * 1000000 + time[2]

local debts = {}    -- by key: tokens by now; false where the bucket cannot be read
local refills = {}  -- by key: the rate of each bucket that is to be written

-- Returns what a bucket owes by now, or false. It is read once, by the rate of the first who asks.
local function read(key, rate)
  local value = try('GET', key)  -- not MGET: that says of a key of another type that there is none
  if not value then return 0 end
  if type(value) ~= 'string' or #value ~= 16 then return false end
  local debt, stamp = unpacked('<dd', value)
  if not (debt >= 0 and debt <= MOST and stamp >= 0 and stamp < math.huge) then return false end
  local elapsed = now - stamp
  if elapsed < 0 then
    refills[key] = rate  -- this server's clock went back: refill nothing, but go on from here
  elseif debt > 0 and elapsed > 0 then
    local left = debt - elapsed * rate / 1000000
    return left > 0 and ceil(left * QUANTA) / QUANTA or 0
  end
  return debt
end

-- The entry at hand, by number of its bucket. One set of tables serves them all.
local names, rates, bursts, costs = {}, {}, {}, {}

local function fits(buckets)
  for number = 1, buckets do
    if debts[names[number]] + costs[number] > bursts[number] then return false end
  end
  return true
end

local function charge(buckets)
  for number = 1, buckets do
    local key = names[number]
    debts[key], refills[key] = debts[key] + costs[number], rates[number]
  end
end

local input, at = ARGV[1], 1
local floors, count = {}
count, at = unpacked('<d', input, at)
for _ = 1, count do
  local index, debt
  index, debt, at = unpacked('<dd', input, at)
  floors[KEYS[index]] = debt
end

local reply, said, named = {}, 0, 0
while at <= #input do
  local times, buckets
  times, buckets, at = unpacked('<dd', input, at)
  local readable = true
  for number = 1, buckets do
    local rate
    rate, bursts[number], costs[number], at = unpacked('<ddd', input, at)
    named = named + 1
    local key = KEYS[named]
    names[number], rates[number] = key, rate
    local debt = debts[key]
    if debt == nil then
      debt = read(key, rate)
      debts[key] = debt
      local floor = floors[key]
      if floor and debt and floor > debt then
        debts[key], refills[key] = floor, rate
      end
    end
    if not debt then readable = false end
  end

  local passed = readable and 0 or -1
  while readable and passed < times and fits(buckets) do
    charge(buckets)
    passed = passed + 1
  end

  said = said + 1
  reply[said] = passed
  for number = 1, buckets do
    local debt = debts[names[number]]
    said = said + 1
    reply[said] = debt and ceil(debt * QUANTA) or -1
  end
end

-- A key lives until its bucket is full, rounded up: one forgotten early would be full early.
for key, rate in pairs(refills) do
  local debt = debts[key]
  if debt > 0 then
    local life = ceil(debt * 1000 / rate) + 1
    call('SET', key, packed('<dd', debt, now), 'PX', life < LONGEST and life or LONGEST)
  end
end

return reply
