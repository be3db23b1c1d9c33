use super::super::geo::Polygon;
use super::super::wire::number::{
    AUTOPILOT_ARDUPILOTMEGA, AUTOPILOT_PX4, CMD_DO_CHANGE_SPEED, CMD_NAV_LAND, CMD_NAV_RETURN_TO_LAUNCH,
    CMD_NAV_TAKEOFF, CMD_NAV_WAYPOINT,
};
use super::*;

const AT: Position = Position {
    latitude: 47.3977,
    longitude: 8.5456,
};
const HOME: Home = Home {
    at: AT,
    altitude_msl: 488.0,
};

fn args(args: &[&str]) -> Result<Plan, PlanError> {
    Plan::of(
        &args
            .iter()
            .fold(Call::new("dispatch"), |call, arg| call.arg(*arg)),
    )
}

fn document(name: &str, text: &str) -> Result<Plan, PlanError> {
    Plan::of(&Call::new("dispatch").env(name, text))
}

fn said(plan: Result<Plan, PlanError>) -> String {
    plan.unwrap_err().to_string()
}

fn limits() -> Limits {
    Limits {
        max_altitude: 60.0,
        max_distance: 500.0,
        max_speed: 8.0,
        fence: None,
    }
}

/// A target so many metres east and north of home.
fn target(east: f64, north: f64, rest: &str) -> String {
    format!("{},{rest}", AT.offset(east, north))
}

#[test]
fn arguments_are_targets_and_how_it_ends() {
    let plan = args(&["47.3985,8.546,30,10s,5", "47.399, 8.547, 40", "land"]).unwrap();
    let waypoint = |lat, lon, altitude, hold| Step::Waypoint {
        at: Position::new(lat, lon).unwrap(),
        altitude,
        hold: Duration::from_secs(hold),
    };
    assert_eq!(
        plan.steps(),
        [
            Step::Takeoff { altitude: 30.0 },
            Step::Speed { speed: 5.0 },
            waypoint(47.3985, 8.546, 30.0, 10),
            waypoint(47.399, 8.547, 40.0, 0),
            Step::Land { at: None },
        ]
    );
    let plain = args(&["47.3985,8.546,30"]).unwrap();
    assert_eq!(plain.steps().last(), Some(&Step::Return));
}

#[test]
fn what_is_no_target_is_named_with_the_way_to_write_one() {
    for (given, problem) in [
        ("47.4,8.5", "it has 2 parts"),
        ("47.4,8.5,30,1,2,3", "it has 6 parts"),
        ("47.4,east,30", "longitude \"east\" is no number"),
        ("91,8.5,30", "latitude is from -85 to 85"),
        ("nan,8.5,30", "latitude is from -85 to 85"),
        ("47.4,8.5,30,soon", "hold \"soon\" is not a duration"),
        ("home", "it has 1 parts"),
    ] {
        let error = said(args(&[given]));
        assert!(
            error.contains(problem) && error.contains("write LAT,LON,ALT[,HOLD[,SPEED]]"),
            "{error}"
        );
    }
    assert!(said(args(&[])).contains("no target is given"));
    assert!(said(args(&["land"])).contains("no target is given"));
    assert!(said(args(&["land", "47.4,8.5,30"])).contains("\"land\" is no target"));
}

#[test]
fn geojson_is_flown_in_its_order_with_its_properties() {
    let text = r#"{"type": "FeatureCollection", "features": [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [8.546, 47.3985]},
         "properties": {"altitude": 30, "hold": "10s", "speed": 5}},
        {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[8.547, 47.399], [8.548, 47.399]]},
         "properties": {"altitude": 40.5, "hold": 3, "speed": 4}}]}"#;
    let plan = document(GEOJSON, text).unwrap();
    let speeds = plan
        .steps()
        .iter()
        .filter(|step| matches!(step, Step::Speed { .. }));
    assert_eq!(
        (plan.steps().len(), speeds.count()),
        (7, 2),
        "the line's speed is set once"
    );
    assert_eq!(plan.steps()[0], Step::Takeoff { altitude: 30.0 });
    let last = Step::Waypoint {
        at: Position::new(47.399, 8.548).unwrap(),
        altitude: 40.5,
        hold: Duration::from_secs(3),
    };
    assert_eq!(plan.steps()[5], last);
    let landing = Plan::of(&Call::new("dispatch").arg("land").env(GEOJSON, text)).unwrap();
    assert_eq!(landing.steps().last(), Some(&Step::Land { at: None }));
}

#[test]
fn geojson_that_is_not_flown_is_refused_by_its_place() {
    let point = |coordinates: &str, properties: &str| {
        format!(
            r#"{{"type": "Feature", "geometry": {{"type": "Point", "coordinates": {coordinates}}}, "properties": {properties}}}"#
        )
    };
    for (text, place) in [
        ("{", "GEOJSON: text: "),
        (r#"{"type": "Polygon"}"#, "GEOJSON: type: is \"Polygon\""),
        (r#"{"type": "FeatureCollection"}"#, "GEOJSON: features: "),
        (
            r#"{"type": "FeatureCollection", "features": []}"#,
            "no target is given",
        ),
        (
            &point("[8.5, 47.4]", "{}"),
            "feature.properties: \"altitude\" is missing",
        ),
        (
            &point("[8.5, 47.4]", r#"{"altitude": "30"}"#),
            "feature.properties.altitude: it is no number",
        ),
        (
            &point("[8.5, 47.4, 30]", r#"{"altitude": 30}"#),
            "above the ellipsoid",
        ),
        (
            &point("[47.4, 190]", r#"{"altitude": 30}"#),
            "latitude from -85 to 85",
        ),
        (
            &point("[8.5, 47.4]", r#"{"altitude": 30, "hold": "soon"}"#),
            "properties.hold: \"soon\" is not",
        ),
        (
            r#"{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": []}, "properties": {}}"#,
            "feature.geometry: its type \"Polygon\" is not flown",
        ),
    ] {
        let error = said(document(GEOJSON, text));
        assert!(error.contains(place), "{text}: {error}");
    }
}

fn qgc(items: &str, rest: &str) -> String {
    format!(r#"{{"fileType": "Plan", "version": 1, "mission": {{"version": 2, "items": [{items}]}}{rest}}}"#)
}

fn simple(command: u16, frame: u8, params: &str) -> String {
    format!(
        r#"{{"type": "SimpleItem", "command": {command}, "frame": {frame}, "autoContinue": true, "params": [{params}]}}"#
    )
}

fn takeoff() -> String {
    simple(22, 3, "0, 0, 0, null, 47.3977, 8.5456, 20")
}

#[test]
fn a_plan_of_qgroundcontrol_is_read() {
    let items = [
        takeoff(),
        simple(178, 2, "1, 6, -1, 0, 0, 0, 0"),
        simple(16, 3, "2.5, 0, 0, null, 47.398, 8.546, 25"),
        simple(19, 3, "30, 1, 0, null, 47.399, 8.546, 25"),
    ]
    .join(",");
    let plan = document(PLAN, &qgc(&items, "")).unwrap();
    let waypoint = |lat, hold| Step::Waypoint {
        at: Position::new(lat, 8.546).unwrap(),
        altitude: 25.0,
        hold: Duration::from_secs_f64(hold),
    };
    let flown = [
        Step::Takeoff { altitude: 20.0 },
        Step::Speed { speed: 6.0 },
        waypoint(47.398, 2.5),
        waypoint(47.399, 30.0),
        Step::Return,
    ];
    assert_eq!(plan.steps(), flown);
    let own_end = qgc(
        &format!("{items},{}", simple(21, 3, "0, 0, 0, null, 47.3978, 8.5457, 0")),
        "",
    );
    let landing = document(PLAN, &own_end).unwrap();
    let at = Position::new(47.3978, 8.5457);
    assert_eq!(landing.steps().last(), Some(&Step::Land { at }));
    let twice = Plan::of(&Call::new("dispatch").arg("return").env(PLAN, own_end));
    assert!(said(twice).contains("mission.items[4]: the plan ends by itself"));
}

#[test]
fn what_a_plan_of_qgroundcontrol_may_not_contain_is_refused_by_name() {
    let after_takeoff = |item: &str| qgc(&format!("{},{item}", takeoff()), "");
    for (text, place) in [
        (
            r#"{"fileType": "Mission"}"#.to_owned(),
            "PLAN: fileType: it is not \"Plan\"",
        ),
        (
            r#"{"fileType": "Plan"}"#.to_owned(),
            "PLAN: mission.items: it is missing",
        ),
        (
            after_takeoff(&simple(183, 2, "9, 1500, 0, 0, 0, 0, 0")),
            "mission.items[1]: the command 183 (DO_SET_SERVO)",
        ),
        (
            after_takeoff(&simple(4242, 2, "")),
            "the command 4242 is not flown; only TAKEOFF",
        ),
        (
            after_takeoff(r#"{"type": "ComplexItem", "complexItemType": "survey"}"#),
            "type \"survey\"",
        ),
        (
            after_takeoff(&simple(16, 0, "0, 0, 0, null, 47.398, 8.546, 510")),
            "frame 0 is not flown",
        ),
        (
            after_takeoff(&simple(16, 3, "0, 0, 0, null, null, 8.546, 25")),
            "are no position",
        ),
        (
            after_takeoff(&simple(16, 3, "-1, 0, 0, null, 47.398, 8.546, 25")),
            "no number of seconds",
        ),
        (
            after_takeoff(&simple(178, 2, "2, 6, -1, 0, 0, 0, 0")),
            "only the speed over ground",
        ),
        (
            qgc(&takeoff(), r#", "geoFence": {"polygons": [{}], "circles": []}"#),
            "geoFence.polygons: the fence of this drone is in the agent's configuration",
        ),
        (
            qgc(&simple(16, 3, "0, 0, 0, null, 47.398, 8.546, 25"), ""),
            "step 1 is out of order",
        ),
        (
            qgc(&format!("{},{}", takeoff(), takeoff()), ""),
            "step 2 is out of order",
        ),
        (
            qgc(&format!("{},{},{}", takeoff(), simple(20, 2, ""), takeoff()), ""),
            "step 2 is out of order",
        ),
    ] {
        let error = said(document(PLAN, &text));
        assert!(error.contains(place), "{text}: {error}");
    }
    let both = Plan::of(&Call::new("dispatch").env(PLAN, "{}").env(GEOJSON, "{}"));
    assert!(said(both).contains("both GEOJSON and PLAN"));
    let beside = Plan::of(&Call::new("dispatch").env(PLAN, "{}").arg("47.4,8.5,30"));
    assert!(said(beside).contains("stands beside a document"));
}

fn together(errors: &[PlanError]) -> String {
    let texts: Vec<String> = errors.iter().map(PlanError::to_string).collect();
    texts.join("; ")
}

#[test]
fn what_goes_beyond_a_limit_is_refused_by_its_step() {
    let check = |targets: &[String]| {
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        args(&targets)
            .unwrap()
            .check(AT, &limits())
            .map_err(|errors| together(&errors))
    };
    assert_eq!(
        check(&[target(300.0, 390.0, "60,1h,8")]),
        Ok(()),
        "the limits themselves are allowed"
    );
    for (bad, problem) in [
        (
            target(0.0, 0.0, "60.1"),
            "step 1: an altitude of 60.1 m above home is not from 2 to 60 m",
        ),
        (target(0.0, 0.0, "nan"), "step 1: an altitude of NaN"),
        (target(0.0, 501.0, "30"), "step 2: "),
        (target(0.0, 0.0, "30,0,8.1"), "step 2: a speed of 8.1 m/s"),
        (target(0.0, 0.0, "30,0,nan"), "step 2: a speed of NaN"),
        (target(0.0, 0.0, "30,3601"), "step 2: a hold of 3601 s"),
    ] {
        let error = check(&[bad]).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    let second = check(&[target(0.0, 0.0, "30"), target(0.0, 0.0, "1")]).unwrap_err();
    assert!(second.starts_with("step 3: an altitude of 1.0 m"), "{second}");
    let all = check(&[target(0.0, 501.0, "61,3601,9")]).unwrap_err();
    let told = [
        "step 1: an altitude",
        "step 2: a speed",
        "step 3: an altitude",
        "a hold of",
        "from home",
    ];
    assert!(told.iter().all(|told| all.contains(told)), "{all}");
    let many = vec![target(0.0, 0.0, "30"); MOST_STEPS];
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(said(args(&many)).contains("at most 200"));
}

#[test]
fn every_leg_and_every_way_home_stays_within_the_fence() {
    // Home in the south of an area with a notch from the north.
    let points = [
        (-100.0, -50.0),
        (100.0, -50.0),
        (100.0, 150.0),
        (5.0, 150.0),
        (0.0, 60.0),
        (-5.0, 150.0),
        (-100.0, 150.0),
    ];
    let points = points.iter().map(|(east, north)| AT.offset(*east, *north));
    let fenced = Limits {
        fence: Some(Polygon::new(points.collect()).unwrap()),
        ..limits()
    };
    let check = |targets: &[(f64, f64)]| {
        let targets: Vec<String> = targets
            .iter()
            .map(|(east, north)| target(*east, *north, "30"))
            .collect();
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        args(&targets)
            .unwrap()
            .check(AT, &fenced)
            .map_err(|errors| together(&errors))
    };
    assert_eq!(check(&[(-50.0, 100.0), (0.0, 30.0), (50.0, 100.0)]), Ok(()));
    let outside = check(&[(120.0, 0.0)]).unwrap_err();
    assert!(
        outside.starts_with("step 2: ") && outside.ends_with("is outside of the fence"),
        "{outside}"
    );
    let across = check(&[(-50.0, 100.0), (50.0, 100.0)]).unwrap_err();
    assert!(across.starts_with("step 3: the way from"), "{across}");
    let elsewhere = Plan::check(
        &args(&[&target(0.0, 0.0, "30")]).unwrap(),
        AT.offset(0.0, 200.0),
        &fenced,
    );
    assert!(matches!(
        elsewhere.unwrap_err().as_slice(),
        [PlanError::HomeOutside { .. }]
    ));
    // From behind the notch's tip one can't fly home in a straight line, though both legs are within.
    let hook = [
        (0.0, -50.0),
        (200.0, -50.0),
        (200.0, 200.0),
        (0.0, 200.0),
        (0.0, 150.0),
        (150.0, 75.0),
        (0.0, 10.0),
    ];
    let hooked = Limits {
        fence: Some(Polygon::new(hook.iter().map(|(e, n)| AT.offset(*e - 20.0, *n)).collect()).unwrap()),
        ..limits()
    };
    let around = args(&[&target(165.0, 75.0, "30"), &target(0.0, 175.0, "30")]).unwrap();
    let errors = around.check(AT, &hooked).unwrap_err();
    assert!(
        matches!(errors.as_slice(), [PlanError::WayHome { step: 3, .. }]),
        "{}",
        together(&errors)
    );
}

#[test]
fn an_estimate_counts_every_part_of_the_flight() {
    let performance = Performance {
        cruise_speed: 5.0,
        climb_speed: 2.0,
        descent_speed: 1.0,
        return_altitude: 15.0,
        endurance: Duration::from_secs(1000),
    };
    let plan = args(&[&target(0.0, 100.0, "20,30s,10"), &target(0.0, 200.0, "10")]).unwrap();
    let estimate = plan.estimate(AT, &performance);
    // Up 10 s; 100 m at 10 m/s and 30 s there; 100 m at 10 m/s and 10 m down; up 2.5 s, 200 m home 40 s, down 15 s; 20 s on the ground.
    let expected = 10.0 + 10.0 + 30.0 + 10.0 + (2.5 + 40.0 + 15.0 + 20.0);
    assert!(
        (estimate.time.as_secs_f64() - expected).abs() < 0.5,
        "{estimate:?}"
    );
    assert!((estimate.distance - 400.0).abs() < 1.0 && (estimate.farthest - 200.0).abs() < 1.0);
    assert!(
        (estimate.return_time.as_secs_f64() - 77.5).abs() < 0.5,
        "{estimate:?}"
    );
    assert!((estimate.battery - expected / 10.0).abs() < 0.1);
}

#[test]
fn each_autopilot_gets_the_list_that_it_wants() {
    let plan = args(&[&target(0.0, 100.0, "20,30s,10"), "land"]).unwrap();
    let commands =
        |items: &[super::super::wire::Item]| items.iter().map(|item| item.command).collect::<Vec<_>>();
    let ardupilot = plan.items(HOME, AUTOPILOT_ARDUPILOTMEGA);
    let flown = [
        CMD_NAV_TAKEOFF,
        CMD_DO_CHANGE_SPEED,
        CMD_NAV_WAYPOINT,
        CMD_NAV_LAND,
    ];
    assert_eq!(commands(&ardupilot), [&[CMD_NAV_WAYPOINT][..], &flown].concat());
    assert_eq!(
        (ardupilot[0].x, ardupilot[0].frame, ardupilot[0].z),
        (AT.to_e7().0, 0, 488.0)
    );
    assert!(
        ardupilot
            .iter()
            .all(|item| !item.params.iter().any(|param| param.is_nan()))
    );
    assert_eq!((ardupilot[4].x, ardupilot[4].y), (0, 0));
    let px4 = plan.items(HOME, AUTOPILOT_PX4);
    assert_eq!(commands(&px4), flown);
    assert_eq!((px4[0].x, px4[0].y), AT.to_e7());
    assert!(px4[2].params[0] == 30.0 && px4[2].params[3].is_nan());
    assert_eq!((px4[3].x, px4[3].y), (px4[2].x, px4[2].y), "where it is then");
    for (index, item) in ardupilot.iter().enumerate() {
        assert_eq!((usize::from(item.seq), item.current), (index, index == 0));
    }
    let home = args(&[&target(0.0, 0.0, "20")])
        .unwrap()
        .items(HOME, AUTOPILOT_ARDUPILOTMEGA);
    assert_eq!(home.last().unwrap().command, CMD_NAV_RETURN_TO_LAUNCH);
}

#[test]
fn the_fence_is_uploaded_as_one_polygon() {
    let points = vec![
        AT.offset(-10.0, -10.0),
        AT.offset(10.0, -10.0),
        AT.offset(0.0, 10.0),
    ];
    let items = fence_items(&Polygon::new(points).unwrap());
    assert_eq!(items.len(), 3);
    assert!(
        items
            .iter()
            .all(|item| item.command == 5001 && item.params[0] == 3.0)
    );
}
