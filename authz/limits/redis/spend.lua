-- Spends for a batch of checks: each all or nothing by itself, in order.
--
-- KEYS      every bucket of the batch, once. A value is 16 bytes: debt (tokens), time (microseconds of this
--           server), two little-endian doubles. No value: a full bucket.
-- ARGV[1]   little-endian doubles, one after the other:
--             number of floors; for each: index of its key from 1, debt (tokens) that it has at least
--             then for each entry, to the end: how many checks ask for the same; number of buckets; and for
--             each bucket: index of its key, rate (tokens/s), burst (tokens), cost (tokens)
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

local debts, stamps = {}, {}  -- by index of the key; nothing for a bucket that cannot be read
local refills = {}            -- the rate of each bucket that is to be written

for index = 1, #KEYS do
  local value = try('GET', KEYS[index])  -- not MGET: that says of a key of another type that there is none
  if not value then
    debts[index], stamps[index] = 0, now
  elseif type(value) == 'string' and #value == 16 then
    local debt, stamp = unpacked('<dd', value)
    if debt >= 0 and debt <= MOST and stamp >= 0 and stamp < math.huge then
      debts[index], stamps[index] = debt, stamp
    end
  end
end

-- Leaves of a debt what is left of it by now. Asked again within one call it changes nothing.
local function settle(index, rate)
  local debt, elapsed = debts[index], now - stamps[index]
  stamps[index] = now
  if elapsed < 0 then
    refills[index] = rate  -- this server's clock went back: refill nothing, but go on from here
  elseif debt > 0 and elapsed > 0 then
    local left = debt - elapsed * rate / 1000000
    debts[index] = left > 0 and ceil(left * QUANTA) / QUANTA or 0
  end
end

-- The entry at hand, by number of its bucket. One set of tables serves them all.
local indexes, rates, bursts, costs = {}, {}, {}, {}

local function fits(buckets)
  for number = 1, buckets do
    if debts[indexes[number]] + costs[number] > bursts[number] then return false end
  end
  return true
end

local function charge(buckets)
  for number = 1, buckets do
    local index = indexes[number]
    debts[index], refills[index] = debts[index] + costs[number], rates[number]
  end
end

local input, at = ARGV[1], 1
local floors, count = {}
count, at = unpacked('<d', input, at)
for _ = 1, count do
  local index, debt
  index, debt, at = unpacked('<dd', input, at)
  floors[index] = debt
end

local reply, said = {}, 0
while at <= #input do
  local times, buckets
  times, buckets, at = unpacked('<dd', input, at)
  local readable = true
  for number = 1, buckets do
    local index, rate
    index, rate, bursts[number], costs[number], at = unpacked('<dddd', input, at)
    indexes[number], rates[number] = index, rate
    if not debts[index] then
      readable = false
    else
      settle(index, rate)
      local floor = floors[index]
      if floor and floor > debts[index] then
        debts[index], refills[index] = floor, rate
      end
    end
  end

  local passed = readable and 0 or -1
  while readable and passed < times and fits(buckets) do
    charge(buckets)
    passed = passed + 1
  end

  said = said + 1
  reply[said] = passed
  for number = 1, buckets do
    local debt = debts[indexes[number]]
    said = said + 1
    reply[said] = debt and ceil(debt * QUANTA) or -1
  end
end

-- A key lives until its bucket is full, rounded up: one forgotten early would be full early.
for index, rate in pairs(refills) do
  local debt = debts[index]
  if debt > 0 then
    local life = ceil(debt * 1000 / rate) + 1
    call('SET', KEYS[index], packed('<dd', debt, now), 'PX', life < LONGEST and life or LONGEST)
  end
end

return reply
