-- Builds the levels that it is told to build, and tells what is true, through files in the world's folder:
--   nodes.json    (read once)        definitions of our nodes
--   command.json  (read every step)  what to do; every command has a number, its "seq"
--   truth.json    (written every step)  the state of things; its "seq" is that of the last command that was done
--   ground.json   (written with every level)  how high the ground is; -1000 where nobody can stand
-- Lengths are in nodes. A level's own coordinates begin at its origin; a thing stands at y = 0 there or on the ground.

local FOLDER = minetest.get_worldpath() .. "/"
local PLAYER = "agent"
local ARENA = {x = 0, y = 3008, z = 0}  -- up in the air, and where few map blocks hold it all
local SIGHT = 80
local DROP = 0.2
local BLOCKED = -1000

local function read(name)
	local file = io.open(FOLDER .. name)
	if not file then
		return nil
	end
	local text = file:read("*a")
	file:close()
	return text
end

local function write(name, value)
	minetest.safe_file_write(FOLDER .. name, (minetest.write_json(value)))
end

for name, definition in pairs(minetest.parse_json(read("nodes.json"))) do
	if definition._opens then
		definition.on_rightclick = function(pos, node)
			minetest.swap_node(pos, {name = definition._opens, param2 = node.param2})
		end
	end
	minetest.register_node(name, definition)
end
for _, state in ipairs({"a", "b", "c", "d"}) do  -- our doors open, and can't be taken away
	minetest.override_item("doors:door_wood_" .. state, {groups = {node = 1}})
end

minetest.send_join_message = function() end  -- these would stand in the picture
minetest.get_server_status = function() end

local done = 0  -- the seq of the last command
local level  -- the last level command, or nil
local origin = ARENA
local owner = {}  -- hash of a node's position -> number of the thing that it belongs to
local parts = {}  -- number of a thing -> positions of its nodes
local watched = {}  -- number of a thing -> the node that changes when it is opened
local base = {}  -- what each thing stands on, in the level's coordinates
local events = {}
local heard, chat = 0, {}
local taken  -- a natural place as it was before we built there

local function at(x, y, z)
	return {x = origin.x + x, y = origin.y + y, z = origin.z + z}
end

local function node_fits(name)
	local definition = minetest.registered_nodes[name]
	return definition ~= nil and definition.walkable ~= false
end

local function is_plant(name)
	local groups = (minetest.registered_nodes[name] or {groups = {}}).groups
	return groups.leaves or groups.tree or groups.flora or groups.sapling or groups.attached_node or groups.fence
end

-- The map of an area, as a table with what is needed to read and change it.
local function area_of(low, high)
	local map = minetest.get_voxel_manip()
	local min, max = map:read_from_map(low, high)
	return {
		map = map, data = map:get_data(), turns = map:get_param2_data(),
		index = VoxelArea:new({MinEdge = min, MaxEdge = max}), low = low, high = high,
	}
end

local function put(area, pos, name, param2)
	local i = area.index:indexp(pos)
	area.data[i] = minetest.get_content_id(name)
	area.turns[i] = param2 or 0
end

local function name_at(area, x, y, z)
	return minetest.get_name_from_content_id(area.data[area.index:index(x, y, z)])
end

local function save(area)
	area.map:set_data(area.data)
	area.map:set_param2_data(area.turns)
	area.map:write_to_map(true)
end

-- The y of the ground at a column: the highest solid node that is no plant; nil for water and for none. `blocked`:
-- whether something stands on it.
local function ground_at(area, x, z)
	for y = area.high.y - 2, area.low.y, -1 do
		local name = name_at(area, x, y, z)
		local definition = minetest.registered_nodes[name]
		if definition and definition.liquidtype ~= "none" then
			return nil
		end
		if node_fits(name) and not is_plant(name) then
			local blocked = node_fits(name_at(area, x, y + 1, z)) or node_fits(name_at(area, x, y + 2, z))
			return y, blocked
		end
	end
	return nil
end

local function clear_floor(area)
	for i in area.index:iterp(area.low, area.high) do
		area.data[i] = minetest.CONTENT_AIR
		area.turns[i] = 0
	end
	local half = level.half
	for x = -half - 1, half + 1 do
		for z = -half - 1, half + 1 do
			put(area, at(x, 0, z), level.floor)
			if math.max(math.abs(x), math.abs(z)) == half + 1 then
				for y = 1, 3 do
					put(area, at(x, y, z), level.wall)
				end
			end
		end
	end
end

-- Levels the ground under and around a thing; returns its y, or nil where there is none.
local function prepare_ground(area, thing)
	local x, z = origin.x + thing.x, origin.z + thing.z
	local y = ground_at(area, x, z)
	if not y then
		return nil
	end
	local surface = name_at(area, x, y, z)
	for i = -thing.room, thing.room do
		for j = -thing.room, thing.room do
			for k = y + 1, math.min(y + 6, area.high.y) do
				put(area, {x = x + i, y = k, z = z + j}, "air")
			end
			for k = y - 3, y do
				put(area, {x = x + i, y = k, z = z + j}, surface)
			end
		end
	end
	return y
end

local function build(area)
	owner, parts, watched, base = {}, {}, {}, {}
	for number, thing in ipairs(level.things) do
		local y = level.natural and prepare_ground(area, thing) or origin.y
		base[number], parts[number] = y - origin.y, {}
	end
	for number, thing in ipairs(level.things) do
		for _, node in ipairs(thing.nodes) do
			local pos = at(thing.x + node[1], base[number] + 1 + node[2], thing.z + node[3])
			put(area, pos, node[4], node[5])
			owner[minetest.hash_node_position(pos)] = number
			table.insert(parts[number], pos)
		end
		if thing.watched then
			local pos = at(thing.x + thing.watched[1], base[number] + 1 + thing.watched[2], thing.z + thing.watched[3])
			watched[number] = {pos = pos, name = name_at(area, pos.x, pos.y, pos.z)}
		end
	end
end

local function start_y(area)
	local x, z = math.floor(level.start[1] + 0.5), math.floor(level.start[2] + 0.5)
	return ground_at(area, origin.x + x, origin.z + z) or origin.y
end

local function write_ground(area)
	local heights = {}
	for x = -level.half - 1, level.half + 1 do
		for z = -level.half - 1, level.half + 1 do
			local y, blocked = ground_at(area, origin.x + x, origin.z + z)
			table.insert(heights, (y and not blocked) and y - origin.y or BLOCKED)
		end
	end
	write("ground.json", {seq = level.seq, heights = heights, base = base, start = start_y(area) - origin.y})
end

local function place_player(player, area)
	local start = level.start
	local y = start_y(area)
	-- A little above the ground: who sees it fall knows that the client has moved it.
	player:set_pos({x = origin.x + start[1], y = y + 0.5 + DROP, z = origin.z + start[2]})
	player:set_look_horizontal(math.rad(start[3]))
	player:set_look_vertical(0)
	player:set_properties({stepheight = level.natural and 1.1 or 0.6})
	player:set_hp(player:get_properties().hp_max)
	local bag = player:get_inventory()
	bag:set_list("main", {})
	for _, item in ipairs(level.items) do
		bag:add_item("main", item)
	end
end

local function restore()
	if taken then
		local area = area_of(taken.low, taken.high)
		area.data, area.turns = taken.data, taken.turns
		save(area)
		taken = nil
	end
end

local function make(command)
	restore()
	level = command
	origin = level.natural and {x = level.site[1], y = level.site[2], z = level.site[3]} or ARENA
	local wide, low, high = level.natural and level.half + 4 or 16, level.natural and -20 or 0, level.natural and 24 or 10
	local area = area_of(
		{x = origin.x - wide, y = origin.y + low, z = origin.z - wide},
		{x = origin.x + wide - 1, y = origin.y + high, z = origin.z + wide - 1}
	)
	if level.natural then
		taken = {low = area.low, high = area.high, data = table.copy(area.data), turns = table.copy(area.turns)}
	else
		clear_floor(area)
	end
	build(area)
	save(area)
	write_ground(area)
	events = {}
	for _, object in ipairs(minetest.get_objects_in_area(area.low, area.high)) do
		if not object:is_player() then
			object:remove()
		end
	end
	local player = minetest.get_player_by_name(PLAYER)
	if player then
		place_player(player, area)
	end
	minetest.set_timeofday(level.time)
	done = level.seq
end

local commands = {
	level = function(command)
		local place = command.natural and {x = command.site[1], y = command.site[2], z = command.site[3]} or ARENA
		local reach = {x = command.half + 4, y = 24, z = command.half + 4}
		minetest.emerge_area(vector.subtract(place, reach), vector.add(place, reach), function(_, _, left)
			if left == 0 and command.seq > done then
				make(command)
			end
		end)
	end,
	teleport = function(command, player)
		player:set_pos(at(command.x, command.y + 0.5, command.z))
		if command.yaw then
			player:set_look_horizontal(math.rad(command.yaw))
			player:set_look_vertical(math.rad(-(command.pitch or 0)))
		end
		done = command.seq
	end,
	give = function(command, player)
		player:get_inventory():add_item("main", command.item)
		done = command.seq
	end,
	time = function(command)
		minetest.set_timeofday(command.time)
		done = command.seq
	end,
	say = function(command)
		minetest.chat_send_all("<" .. PLAYER .. "> " .. command.text)
		done = command.seq
	end,
	ground = function(command)  -- for those who look for places: the heights of a square, every `step` nodes
		local low = {x = command.x - command.half, y = -24, z = command.z - command.half}
		local high = {x = command.x + command.half, y = 47, z = command.z + command.half}
		minetest.emerge_area(low, high, function(_, _, left)
			if left > 0 then
				return
			end
			local area, heights = area_of(low, high), {}
			for x = low.x, high.x, command.step do
				for z = low.z, high.z, command.step do
					local y, blocked = ground_at(area, x, z)
					table.insert(heights, (y and not blocked) and y or BLOCKED)
				end
			end
			write("ground.json", {seq = command.seq, heights = heights})
			done = command.seq
		end)
	end,
}

local function local_coordinates(pos)
	return {pos.x - origin.x, pos.y - origin.y - 0.5, pos.z - origin.z}
end

local steps = 0

local function tell_truth(player)
	steps = steps + 1
	local pos, truth = player:get_pos(), {seq = done, step = steps, events = events, heard = heard, chat = chat}
	local eyes = vector.add(pos, {x = 0, y = player:get_properties().eye_height, z = 0})
	truth.pos, truth.eyes = local_coordinates(pos), local_coordinates(eyes)
	truth.yaw, truth.pitch = math.deg(player:get_look_horizontal()), -math.deg(player:get_look_vertical())
	truth.hp, truth.bag, truth.opened = player:get_hp(), {}, {}
	for _, stack in ipairs(player:get_inventory():get_list("main")) do
		if not stack:is_empty() then
			truth.bag[stack:get_name()] = (truth.bag[stack:get_name()] or 0) + stack:get_count()
		end
	end
	local ray = minetest.raycast(eyes, vector.add(eyes, vector.multiply(player:get_look_dir(), SIGHT)), false, false)
	local hit = ray:next()
	if hit then
		truth.aimed = {
			thing = owner[minetest.hash_node_position(hit.under)], node = minetest.get_node(hit.under).name,
			distance = vector.distance(eyes, hit.intersection_point), top = hit.above.y > hit.under.y,
		}
	end
	for number, watch in pairs(watched) do
		if minetest.get_node(watch.pos).name ~= watch.name then
			table.insert(truth.opened, number)
		end
	end
	write("truth.json", truth)
end

local last = nil  -- the text of the last command
minetest.register_globalstep(function()
	local player = minetest.get_player_by_name(PLAYER)
	if not player then
		return
	end
	local text = read("command.json")
	if text and text ~= last then
		last = text
		local command = minetest.parse_json(text)
		commands[command.kind](command, player)
	end
	tell_truth(player)
end)

minetest.register_on_dignode(function(pos, node)
	local number = owner[minetest.hash_node_position(pos)]
	if number then
		for _, part in ipairs(parts[number]) do
			owner[minetest.hash_node_position(part)] = nil
			minetest.set_node(part, {name = "air"})
		end
		table.insert(events, {kind = "dug", thing = number})
	end
end)

minetest.register_on_placenode(function(pos, node)
	local under = owner[minetest.hash_node_position({x = pos.x, y = pos.y - 1, z = pos.z})]
	table.insert(events, {kind = "placed", node = node.name, at = local_coordinates(pos), on = under})
end)

minetest.register_on_joinplayer(function(player)
	player:hud_set_flags({
		hotbar = false, healthbar = false, breathbar = false, minimap = false, minimap_radar = false, crosshair = true,
		wielditem = true,
	})
	player:set_clouds({density = 0})
end)

minetest.register_on_chat_message(function(name, text)
	if name ~= PLAYER then
		heard = heard + 1
		table.insert(chat, {heard, name, text})
		if #chat > 32 then
			table.remove(chat, 1)
		end
	end
end)
