-- Says how many processes share the buckets of a keyspace, and that one of them is there, or leaves.
--
-- KEYS[1]  a sorted set: members by the time at which each said so last, milliseconds of this server
-- ARGV[1]  two little-endian doubles: how long a member counts that says no more (ms); 1 to stay, 0 to leave;
--          then the member's name
-- Returns  two integers: how many there are, -1 where the key holds something else; and 1 where the member that
--          stays was not among them before.

local life, stays, at = struct.unpack('<dd', ARGV[1])
local member = string.sub(ARGV[1], at)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fleet = KEYS[1]

local kind = redis.call('TYPE', fleet).ok
if kind ~= 'zset' and kind ~= 'none' then return {-1, 0} end

local added = 0
if stays == 1 then
  added = redis.call('ZADD', fleet, string.format('%.0f', now), member)
else
  redis.call('ZREM', fleet, member)
end
-- Whoever is later than now said so before this server's clock went back, and may never be heard of again.
redis.call('ZREMRANGEBYSCORE', fleet, '-inf', string.format('%.0f', now - life))
redis.call('ZREMRANGEBYSCORE', fleet, string.format('(%.0f', now), '+inf')
redis.call('PEXPIRE', fleet, string.format('%.0f', life))
return {redis.call('ZCARD', fleet), added}
